// Several threads that call the core at once, each with a team of its own, as the threads of a Python program do: every
// result must have the bits that one thread alone computes. Built with ThreadSanitizer, it shows races between calls.
//
// thread_tests [--all]   with --all each example in every format and every way to the votes; else in one each, by turns
#include <stdio.h>
#include <string.h>

#include <iterator>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "tests/checks.h"
#include "tests/prepared.h"

using namespace capsroute;
using namespace capsroute::tests;

namespace {

constexpr int kCallers = 3, kTeam = 2;
constexpr size_t kWays = 4;  // to the votes

struct Task {
    const NamedExample* named;
    const Format* format;
};

bool run(Prepared& call, const Task& task, Failures& failures) {
    if (!call.run_op(task.named->name, failures)) return false;
    return !task.named->example.input_mask.empty() || !task.named->example.output_mask.empty() ||
           call.run_agreement(task.named->name + ": agreement", failures);
}

// The tasks from another one on for each caller, so that different calls meet.
void call_all(const std::vector<Task>& tasks, const std::list<Prepared>& expected, int caller, Failures& failures) {
    for (size_t n = 0; n < tasks.size(); ++n) {
        const size_t at = (n + size_t(caller) * tasks.size() / kCallers) % tasks.size();
        const Task& task = tasks[at];
        const Prepared& alone = *std::next(expected.begin(), int64_t(at));
        Prepared call(task.named->example, *task.format, kTeam);
        if (!run(call, task, failures)) continue;
        if (!(call.gradients == alone.gradients && call.output == alone.output && call.agreement == alone.agreement))
            failures.add(task.named->name + ", " + task.format->name + ": other bits beside other calls");
    }
}

}  // namespace

int main(int argc, char** argv) {
    const bool all = argc == 2 && !strcmp(argv[1], "--all");
    if (argc != 1 && !all) {
        fprintf(stderr, "usage: thread_tests [--all]\n");
        return 2;
    }
    const std::vector<NamedExample> examples = all_examples();
    Failures failures;
    size_t calls = 0;
    for (int votes = 0; cpu_votes_name(votes); ++votes) {
        cpu_votes_choose(cpu_votes_name(votes));
        std::vector<Task> tasks;
        for (size_t n = 0; n < examples.size(); ++n) {
            for (size_t format = 0; format < std::size(kFormats); ++format) {
                const bool its_turn = n % kWays == size_t(votes) && n / kWays % std::size(kFormats) == format;
                if (all || its_turn) tasks.push_back({&examples[n], &kFormats[format]});
            }
        }
        std::list<Prepared> expected;
        for (const Task& task : tasks) run(expected.emplace_back(task.named->example, *task.format, 1), task, failures);
        std::vector<Failures> found(kCallers);
        std::vector<std::thread> callers;
        for (int caller = 0; caller < kCallers; ++caller)
            callers.emplace_back([&, caller] { call_all(tasks, expected, caller, found[size_t(caller)]); });
        for (std::thread& caller : callers) caller.join();
        for (const Failures& each : found)
            for (const std::string& text : each.texts) failures.add(text);
        calls += tasks.size() * kCallers;
    }
    const int status = failures.report();
    printf("thread_tests: %zu examples by %d callers of %d threads each, %zu failures\n", calls, kCallers, kTeam,
           failures.texts.size());
    return calls > 0 ? status : 1;
}
