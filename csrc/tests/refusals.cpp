#include <math.h>
#include <string.h>

#include <type_traits>

#include "tests/arguments.h"
#include "tests/buffer.h"
#include "tests/hostile.h"

namespace capsroute::tests {
namespace {

using P = RoutingProblem;

class Refusals {
   public:
    Refusals(const Core& core, Failures& failures) : core_(core), failures_(failures), space_(1 << 20) {
        memset(space_.data(), 0, size_t(space_.bytes()));
    }

    void run() {
        const P good = small_problem(space_.data());
        expect("a good problem", Status::ok, good);
        check_sizes(good);
        check_given_votes(good);
        check_options(good);
        check_coupling(good);
        check_gradients_of_nothing(good);
        check_empty_batch(good);
    }

   private:
    void check_sizes(const P& good) {
        each("no weight", Status::missing_pointer, good, &P::weight, {nullptr});
        each("a weight off its place", Status::misaligned, good, &P::weight, {space_.data() + 1});
        each("no inputs", Status::bad_size, good, &P::inputs, {0});
        each("a negative batch", Status::bad_size, good, &P::batch, {-1});
        each("weights that do not divide the inputs", Status::bad_size, good, &P::weight_inputs, {4});
        each("a batch of 2^60", Status::too_large, good, &P::batch, {int64_t{1} << 60});
        for (int64_t batch : {0, 2}) {
            P p = good;
            p.batch = batch;
            p.weight_inputs = 1;
            for (int64_t P::* size : {&P::batch, &P::inputs, &P::outputs, &P::input_size, &P::output_size})
                each("the largest size there can be", Status::too_large, p, size, {INT64_MAX});
            each("as many iterations as there can be", Status::too_large, p, &P::iterations, {INT64_MAX});
        }
        P p = good;
        p.batch = 0;
        p.outputs = int64_t{1} << 26;
        each("sizes that only the padding of a tile makes too large", Status::too_large, p, &P::iterations,
             {int64_t{1} << 20});
    }

    void check_given_votes(const P& good) {
        const P p = with_votes(good);
        for (int64_t P::* unused : {&P::input_size, &P::weight_inputs})
            each("given votes", Status::ok, p, unused, {INT64_MIN, -1, 0, INT64_MAX});
        for (int64_t stride : {INT64_MIN, -(int64_t{1} << 60), int64_t{1} << 50, int64_t{1} << 60, INT64_MAX}) {
            for (int axis = 0; axis < 4; ++axis) {
                P far = p;
                far.vote_strides[axis] = stride;
                expect("votes that are too far apart", Status::too_large, far);
            }
        }
    }

    void check_options(const P& good) {
        constexpr Status bad = Status::bad_option;
        each("no iterations", bad, good, &P::iterations, {0});
        each("no threads", bad, good, &P::threads, {0, -1, INT32_MIN});
        each("too many threads", Status::many_threads, good, &P::threads, {kMostThreads + 1, 4'000'000, INT32_MAX});
        each("an unknown dtype", bad, good, &P::dtype, {DType(-1), DType(4)});
        each("an unknown gradient", bad, good, &P::gradient, {Gradient(-1), Gradient(3)});
        each("an unknown squash", bad, good, &P::squash, {Squash(-1), Squash(7)});
        each("an unknown kernel", bad, good, &P::cuda_kernel, {CudaKernel(-1), CudaKernel(3)});
        each("an unknown fusion", bad, good, &P::cuda_fusion, {CudaFusion(-1), CudaFusion(4)});
        each("a bad eps", bad, good, &P::eps, {-1e-8, NAN});
        each("a bad number of temperatures", bad, good, &P::temperatures, {-1, 0, kTemperatures + 1});
        P p = good;
        p.leaky = true;
        each("leaky over inputs", bad, p, &P::softmax_over_inputs, {true});

        each("a constant that is not used", Status::ok, good, &P::squash_constant, {0, -1, NAN});
        for (Squash squash : {Squash::shifted, Squash::power}) {
            p = good;
            p.squash = squash;
            each("a bad constant", bad, p, &P::squash_constant, {0, -1, NAN});
        }
        p = good;
        p.temperatures = kTemperatures;
        for (double inverse : {1.0, 0.0, -1.0, double(NAN), double(INFINITY)}) {
            for (double& each : p.inverse_temperature) each = 1;
            p.inverse_temperature[kTemperatures - 1] = inverse;
            expect("the last of many temperatures", inverse == 1 ? Status::ok : bad, p);
        }
    }

    void check_coupling(P p) {
        p.coupling_given = true;
        p.iterations = 1;
        expect("a given coupling that is not there", Status::missing_pointer, p);
        p.logits = space_.data();
        expect("a given coupling", Status::ok, p);
        each("a given coupling with iterations", Status::bad_option, p, &P::iterations, {2});
        each("a given coupling that leaks", Status::bad_option, p, &P::leaky, {true});
        each("a given coupling over inputs", Status::bad_option, p, &P::softmax_over_inputs, {true});
    }

    // Of what is not there, neither the gradient nor a workspace for it.
    void check_gradients_of_nothing(const P& good) {
        P nobody = good;
        nobody.batch = 0;
        nobody.x = nobody.weight = nullptr;
        for (const P& p : {good, with_votes(good), nobody}) {
            for (const Argument& argument : kArguments) {
                const bool empty_is_there = p.batch == 0 && (argument.given == &P::x || argument.given == &P::votes);
                if (p.*argument.given || empty_is_there) continue;
                RoutingBackward buffers = backward();
                buffers.*argument.wanted = space_.data();
                const std::string what = std::string("the gradient of no ") + argument.name;
                expect_status(what, answer(core_.calls.backward, p, buffers), Status::missing_pointer);
                expect_status(what, answer(core_.calls.last_pass, p, last(buffers)), Status::missing_pointer);
            }
        }
    }

    // Whichever kernels are asked for, nobody has a plan, and may have votes of which nobody knows whether they were
    // given or made of a weight; a gradient is one of zeros.
    void check_empty_batch(P p) {
        p.batch = 0;
        for (int kernel = 0; kernel <= int(CudaKernel::fused); ++kernel) {
            for (int fusion = 0; fusion <= int(CudaFusion::launches); ++fusion) {
                p.cuda_kernel = CudaKernel(kernel);
                p.cuda_fusion = CudaFusion(fusion);
                expect("an empty batch", Status::ok, p);
                expect("an empty batch of votes", Status::ok, with_votes(p));
            }
            for (const Format& format : kFormats) {
                P nobody = p;
                nobody.dtype = format.dtype;
                nobody.x = nobody.weight = nullptr;
                nobody.logits = space_.data();
                Buffer gradient(p.inputs * p.outputs * format.bytes);
                RoutingBackward buffers = backward();
                buffers.grad_logits = gradient.data();
                expect_status("an empty batch of nobody", answer(core_.calls.backward, nobody, buffers), Status::ok);
                for (double number : gradient.numbers(format)) {
                    if (number != 0) return failures_.add("an empty batch has a gradient of its logits");
                }
            }
        }
    }

    P with_votes(P p) {
        p.votes = space_.data() + space_.bytes() / 2;
        const int64_t strides[] = {-p.inputs * p.outputs * p.output_size, p.outputs * p.output_size, -p.output_size, 1};
        memcpy(p.vote_strides, strides, sizeof strides);
        p.x = p.weight = nullptr;
        return p;
    }
    RoutingBackward backward() {
        uint8_t* const any = space_.data();
        return {any, any, any, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, any, space_.bytes()};
    }
    RoutingLastPass last(const RoutingBackward& buffers) {
        uint8_t* const any = space_.data();
        return {any, any, any, any, buffers};
    }

    // What a call says to both questions; nobody may have another answer to the second than to the first.
    template <class Buffers>
    Status answer(const Call<Buffers>& call, const P& problem, const Buffers& buffers) {
        const int64_t bytes = call.workspace(problem, buffers, {});
        const Status planned = bytes < 0 ? Status(-bytes) : Status::ok, ran = call.run(problem, buffers, {});
        if (ran != planned) failures_.add(std::string("a workspace gives: ") + status_text(planned));
        return ran;
    }
    void expect_status(const std::string& what, Status got, Status wanted) {
        if (got != wanted) failures_.add(what + " gave: " + status_text(got));
    }

    // Wherever the problem is given.
    void expect(const std::string& what, Status wanted, const P& problem) {
        const int64_t bytes = space_.bytes() / 4;
        uint8_t *const output = space_.data() + bytes, *const workspace = output + 2 * bytes;
        const RoutingCalls& calls = core_.calls;
        expect_status(what + ": forward", answer(calls.forward, problem, {output, nullptr, nullptr, workspace, bytes}),
                      wanted);
        for (int64_t answer :
             {calls.backward.workspace(problem, {}, {}), calls.agreement.workspace(problem, {}, {}),
              calls.forward_pass.workspace(problem, {}, {}), calls.backward_pass.workspace(problem, {}, {}),
              calls.last_pass.workspace(problem, {}, {})})
            expect_status(what + ": a workspace", answer < 0 ? Status(-answer) : Status::ok, wanted);
        if (core_.described(problem) != (wanted == Status::ok)) failures_.add(what + ": what is said of it");
    }
    template <class Owner, class T>
    void each(const std::string& what, Status wanted, P problem, T Owner::* field,
              std::initializer_list<std::type_identity_t<T>> values) {
        for (const T& value : values) {
            problem.*field = value;
            expect(what, wanted, problem);
        }
    }

    const Core& core_;
    Failures& failures_;
    Buffer space_;
};

}  // namespace

void check_refusals(const Core& core, Failures& failures) {
    Refusals(core, failures).run();
}

}  // namespace capsroute::tests
