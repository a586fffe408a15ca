// The products of the votes with given vectors: every size and type, one thread per sample, input and output.
#include "choice.h"
#include "elements.cuh"

namespace capsroute {
namespace cuda {
namespace {

struct AgreementParameters {
    RoutingProblem problem;
    const void* query;
    void* agreement;
};

// Where votes are made, the threads of a warp take samples, which need the same weights; votes that were given lie side
// by side for inputs and outputs.
template <class T>
CAPSROUTE_KERNEL(kThreadsOfElements, 1)
agreement_kernel(CAPSROUTE_PARAMETER AgreementParameters parameters) {
    const RoutingProblem& p = parameters.problem;
    const T* query = static_cast<const T*>(parameters.query);
    T* agreement = static_cast<T*>(parameters.agreement);
    for_each_element(p.batch * p.inputs * p.outputs, [&](int64_t at) {
        const int64_t pairs = p.inputs * p.outputs;
        const int64_t b = p.votes ? at / pairs : at % p.batch, pair = p.votes ? at % pairs : at / p.batch;
        agreement[b * pairs + pair] = vote_times<T>(p, query, b, pair / p.outputs, pair % p.outputs);
    });
}

}  // namespace

int64_t workspace(const RoutingProblem& problem, const RoutingAgreement&, Place place) {
    Device device;
    Status status = check(problem);
    if (status == Status::ok) status = device_of(place.device, device);
    return -int64_t(status);
}

Status run(const RoutingProblem& problem, const RoutingAgreement& buffers, Place place) {
    Status status = check(problem, buffers);
    Device device;
    if (status == Status::ok) status = device_of(place.device, device);
    if (status != Status::ok) return status;
    const DeviceGuard guard(place.device);
    if (guard.status() != Status::ok) return guard.status();
    const int64_t count = problem.batch * problem.inputs * problem.outputs;
    if (count == 0) return Status::ok;
    const AgreementParameters parameters{problem, buffers.query, buffers.agreement};
    const Kernel kernel = problem.dtype == DType::float64
                              ? kernel_of(agreement_kernel<double>, "agreement", kThreadsOfElements, 1)
                              : kernel_of(agreement_kernel<float>, "agreement", kThreadsOfElements, 1);
    const Shape shape{blocks_of_elements(count, device), kThreadsOfElements, 0};
    return launch_on(device, kernel, shape, place.stream, parameters);
}

}  // namespace cuda
}  // namespace capsroute
