// Elements of a problem in any type and size, one at a time: for kernels that give each thread an element of its own.
#pragma once

#include "storage.cuh"

namespace capsroute::cuda {

constexpr int kThreadsOfElements = 128;  // of a block

// Calls work(k) for every element, spread over the threads of the grid.
template <class Work>
CAPSROUTE_DEVICE void for_each_element(int64_t count, Work work) {
    const int64_t threads = int64_t(block_count()) * thread_count();
    for (int64_t k = int64_t(block_index()) * thread_count() + thread_index(); k < count; k += threads) work(k);
}

CAPSROUTE_DEVICE int64_t weight_at(const RoutingProblem& p, int64_t i, int64_t j, int64_t k, int64_t e) {
    return (((i % p.weight_inputs) * p.outputs + j) * p.output_size + k) * p.input_size + e;
}

// Component e of an input, and component k of a vote, in float or double.
template <class T>
CAPSROUTE_DEVICE T x_at(const RoutingProblem& p, int64_t b, int64_t i, int64_t e) {
    return read<T>(p.dtype, p.x, (b * p.inputs + i) * p.input_size + e);
}
template <class T>
CAPSROUTE_DEVICE T vote_at(const RoutingProblem& p, int64_t b, int64_t i, int64_t j, int64_t k) {
    if (p.votes) {
        return read<T>(p.dtype, p.votes,
                       b * p.vote_strides[0] + i * p.vote_strides[1] + j * p.vote_strides[2] + k * p.vote_strides[3]);
    }
    T sum = 0;
    for (int64_t e = 0; e < p.input_size; ++e) {
        sum += read<T>(p.dtype, p.weight, weight_at(p, i, j, k, e)) * x_at<T>(p, b, i, e);
    }
    return sum;
}

// The product of a vote with its vector among vectors [B, J, D].
template <class T>
CAPSROUTE_DEVICE T vote_times(const RoutingProblem& p, const T* vectors, int64_t b, int64_t i, int64_t j) {
    T sum = 0;
    for (int64_t k = 0; k < p.output_size; ++k) {
        sum += vote_at<T>(p, b, i, j, k) * vectors[(b * p.outputs + j) * p.output_size + k];
    }
    return sum;
}

// How many blocks take so many elements.
inline int blocks_of_elements(int64_t count, const Device& device) {
    return int(smaller(divide_up(count, kThreadsOfElements), int64_t{device.multiprocessors} * 16));
}

}  // namespace capsroute::cuda
