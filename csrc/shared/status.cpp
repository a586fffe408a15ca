#include "../capsroute.h"

namespace capsroute {

const char* status_text(Status status) {
    switch (status) {
        case Status::ok: return "ok";
        case Status::bad_size: return "a size is below its minimum, or the sizes do not fit each other";
        case Status::bad_option: return "an option is outside its range, or options contradict each other";
        case Status::missing_pointer: return "a buffer that the problem needs is null";
        case Status::misaligned: return "the workspace is not aligned to 64 bytes, or a buffer not to its elements";
        case Status::small_workspace: return "the workspace is smaller than the problem needs";
        case Status::too_large: return "a buffer would be larger than can be addressed";
        case Status::no_device: return "there is no such CUDA device, or its driver is too old for this build";
        case Status::not_built: return "this build holds no kernels for the architecture of this CUDA device";
        case Status::no_kernel: return "the CUDA kernel that was asked for cannot run this problem on this device";
        case Status::launch_failed: return "the CUDA runtime refused a call";
        case Status::fault: return "an emulated CUDA kernel broke a rule";
        case Status::many_threads: return "more than 4096 threads were asked for";
    }
    return "unknown status";
}

}  // namespace capsroute
