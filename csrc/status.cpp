#include "capsroute.h"

namespace capsroute {

const char* status_text(Status status) {
    switch (status) {
        case Status::ok: return "ok";
        case Status::bad_size: return "a size is below its minimum, or the sizes do not fit each other";
        case Status::bad_option: return "an option is outside its range, or options contradict each other";
        case Status::missing_pointer: return "a buffer that the problem needs is null";
        case Status::small_workspace: return "the workspace is smaller than the problem needs";
        case Status::too_large: return "a buffer would be larger than can be addressed";
    }
    return "unknown status";
}

}  // namespace capsroute
