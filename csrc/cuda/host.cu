// The declarations of host.h over the CUDA runtime. What a device or a kernel is asked once is kept, so that a launch
// costs the host little more than the runtime's own call, and makes no other while a CUDA graph is captured.
#include "host.h"

#include <cuda_runtime.h>
#include <stdio.h>

#include <map>
#include <mutex>
#include <tuple>

namespace capsroute::cuda {
namespace {

constexpr int kPortableCluster = 8;  // blocks; larger clusters are not promised on every device that has clusters

thread_local char detail[256];

// Notes an error, and takes it out of the runtime where a later call of somebody else would find it.
Status checked(cudaError_t error) {
    if (error == cudaSuccess) return Status::ok;
    snprintf(detail, sizeof detail, "%s: %s", cudaGetErrorName(error), cudaGetErrorString(error));
    cudaGetLastError();
    switch (error) {
        case cudaErrorInsufficientDriver:
        case cudaErrorInvalidDevice:
        case cudaErrorNoDevice:
        case cudaErrorStubLibrary:
        case cudaErrorUnsupportedPtxVersion: return Status::no_device;
        case cudaErrorInvalidDeviceFunction:
        case cudaErrorNoKernelImageForDevice: return Status::not_built;
        default: return Status::launch_failed;
    }
}

Status ask(int device, cudaDeviceAttr attribute, int& value) {
    return checked(cudaDeviceGetAttribute(&value, attribute, device));
}

Status ask_all(int index, Device& device) {
    int major, minor, multiprocessors, shared_bytes, cooperative, clusters;
    const std::pair<cudaDeviceAttr, int*> questions[] = {
        {cudaDevAttrComputeCapabilityMajor, &major},        {cudaDevAttrComputeCapabilityMinor, &minor},
        {cudaDevAttrMultiProcessorCount, &multiprocessors}, {cudaDevAttrMaxSharedMemoryPerBlockOptin, &shared_bytes},
        {cudaDevAttrCooperativeLaunch, &cooperative},       {cudaDevAttrClusterLaunch, &clusters},
    };
    for (const auto& [attribute, value] : questions)
        if (const Status status = ask(index, attribute, *value); status != Status::ok) return status;
    device = {index,        major * 10 + minor, multiprocessors,
              shared_bytes, cooperative != 0,   clusters ? kPortableCluster : 1};
    return Status::ok;
}

// The launch configuration of a shape. It points into itself.
class Configuration {
   public:
    Configuration(const Shape& shape, void* stream) {
        config_.gridDim = dim3(unsigned(shape.blocks));
        config_.blockDim = dim3(unsigned(shape.threads));
        config_.dynamicSmemBytes = size_t(shape.shared_bytes);
        config_.stream = static_cast<cudaStream_t>(stream);
        config_.attrs = attributes_;
        if (shape.cooperative) {
            cudaLaunchAttribute& attribute = attributes_[config_.numAttrs++];
            attribute.id = cudaLaunchAttributeCooperative;
            attribute.val.cooperative = 1;
        }
        if (shape.cluster > 1) {
            cudaLaunchAttribute& attribute = attributes_[config_.numAttrs++];
            attribute.id = cudaLaunchAttributeClusterDimension;
            attribute.val.clusterDim = {unsigned(shape.cluster), 1, 1};
        }
    }
    Configuration(const Configuration&) = delete;
    Configuration& operator=(const Configuration&) = delete;

    const cudaLaunchConfig_t* get() const { return &config_; }

   private:
    cudaLaunchConfig_t config_{};
    cudaLaunchAttribute attributes_[2]{};
};

// What was asked before. A kernel's shared memory only grows, so a size that was allowed once stays allowed.
struct Answers {
    std::mutex mutex;
    std::map<int, Device> devices;
    std::map<std::pair<int, const void*>, int> shared_bytes;
    std::map<std::tuple<int, const void*, int, int, int>, int> resident_blocks;
};

Answers& answers() {
    static Answers* const all = new Answers;  // never destroyed: a thread may still launch when the process ends
    return *all;
}

Status allow_shared_bytes(int device, const void* function, int bytes) {
    int& allowed = answers().shared_bytes[{device, function}];
    if (bytes <= allowed) return Status::ok;
    const Status status = checked(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    if (status == Status::ok) allowed = bytes;
    return status;
}

Status ask_resident_blocks(const Kernel& kernel, const Shape& shape, int& blocks) {
    Status status = checked(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel.function, shape.threads,
                                                                          size_t(shape.shared_bytes)));
    if (status != Status::ok || shape.cluster == 1 || blocks == 0) return status;
    // Each block of a cluster may fit alone, and yet the cluster not.
    int clusters = 0;
    const Configuration configuration(shape, nullptr);
    status = checked(cudaOccupancyMaxActiveClusters(&clusters, kernel.function, configuration.get()));
    if (clusters == 0) blocks = 0;
    return status;
}

}  // namespace

Status device_of(int index, Device& device) {
    Answers& known = answers();
    const std::lock_guard lock(known.mutex);
    if (const auto found = known.devices.find(index); found != known.devices.end()) {
        device = found->second;
        return Status::ok;
    }
    const Status status = ask_all(index, device);
    if (status == Status::ok) known.devices[index] = device;
    return status;
}

DeviceGuard::DeviceGuard(int index) {
    int current = -1;
    status_ = checked(cudaGetDevice(&current));
    if (status_ != Status::ok || current == index) return;
    status_ = checked(cudaSetDevice(index));
    if (status_ == Status::ok) before_ = current;
}

DeviceGuard::~DeviceGuard() {
    if (before_ >= 0) checked(cudaSetDevice(before_));
}

Status resident_blocks(const Device& device, const Kernel& kernel, const Shape& shape, int& blocks) {
    blocks = 0;
    if (shape.threads < 1 || shape.threads > kernel.threads || shape.shared_bytes > device.shared_bytes ||
        shape.cluster > device.largest_cluster)
        return Status::ok;
    Answers& known = answers();
    const std::lock_guard lock(known.mutex);
    const std::tuple question{device.index, kernel.function, shape.threads, shape.shared_bytes, shape.cluster};
    if (const auto found = known.resident_blocks.find(question); found != known.resident_blocks.end()) {
        blocks = found->second;
        return Status::ok;
    }
    const DeviceGuard guard(device.index);
    if (guard.status() != Status::ok) return guard.status();
    Status status = allow_shared_bytes(device.index, kernel.function, shape.shared_bytes);
    if (status == Status::ok) status = ask_resident_blocks(kernel, shape, blocks);
    if (status == Status::ok) known.resident_blocks[question] = blocks;
    return status;
}

Status launch(const Device&, const Kernel& kernel, const Shape& shape, void* stream, const void* parameters, size_t) {
    const Configuration configuration(shape, stream);
    void* arguments[] = {const_cast<void*>(parameters)};
    return checked(cudaLaunchKernelExC(configuration.get(), kernel.function, arguments));
}

const char* error_detail() {
    return detail;
}

}  // namespace capsroute::cuda
