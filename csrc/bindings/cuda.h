// What both modules offer of CUDA: the one for a device, the other for the emulated device.
#pragma once

#include "routing.h"

namespace capsroute::bindings {

inline std::string describe_cuda(const PlacedProblem& placed) {
    char text[512];
    raise_on_failure(cuda_describe(placed.problem, placed.place.device, text, int(sizeof text)));
    return text;
}

inline std::vector<int> cuda_archs() {
    std::vector<int> archs;
    for (int index = 0; index < cuda_arch_count(); ++index) archs.push_back(cuda_arch(index));
    return archs;
}

// "" when kernels can run on the device, "not_built" when none was built for it, else what the CUDA runtime says.
inline std::string unusable(int device) {
    const Status status = cuda_usable(device);
    if (status == Status::ok) return "";
    if (status == Status::not_built) return "not_built";
    const std::string detail = cuda_error_detail();
    return detail.empty() ? status_text(status) : detail;
}

inline void choose_division(int tiles, int last_outputs, int last_warps) {
    cuda_division_choose({tiles, last_outputs, last_warps});
}

inline py::tuple division() {
    const CudaDivision now = cuda_division();
    return py::make_tuple(now.tiles, now.last_outputs, now.last_warps);
}

inline void bind_cuda(py::module_& m) {
    m.def("choose_cuda_division", &choose_division, "tiles"_a, "last_outputs"_a, "last_warps"_a);
    m.def("cuda_division", &division);
    m.def("cuda_unusable", &unusable, "device"_a);
    m.def("cuda_archs", &cuda_archs);
}

}  // namespace capsroute::bindings
