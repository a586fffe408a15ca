#include "memory.h"

#include <math.h>

#include "fault.h"
#include "machine.h"

namespace capsroute::emulation {
namespace {

constexpr Mark kNumber = kOfWarp - 1;

// The smallest group that holds both the marked threads and this one: 0 for the thread itself, else 1 + its scope.
int common_group(Mark mark, const Thread& thread) {
    const int marked = mark >> kMarkBits;
    const int different = (mark ^ thread.mark) & kNumber;
    const int found = different == 0 ? 0 : different < kWarp ? 1 : different < 1024 ? 2 : 3;
    return marked > found ? marked : found;
}

// Whether what the marked threads did at that time is past for this thread: they have met since then.
bool ordered(Mark mark, uint32_t time, const Thread& thread) {
    const int group = common_group(mark, thread);
    return group == 0 || time < thread.warp->met[group - 1];
}

const char* whose(Mark mark) {
    switch (mark & ~kNumber) {
        case kOfThread: return "thread";
        case kOfWarp: return "threads of its warp, among them thread";
        case kOfBlock: return "threads of several warps, among them thread";
        default: return "threads of several blocks, among them thread";
    }
}

int index_of(Mark mark) {
    return (mark & kNumber) % 1024;
}

}  // namespace

void Memory::reset(Block& block, int bytes) {
    block_ = &block;
    ended_ = false;
    started_ = machine.clock;
    remote_access_ = 0;
    size_ = bytes / int(sizeof(float));
    values_.assign(size_, NAN);
    cells_.assign(size_, Cell{0, 0, kNobody, kNobody});
}

void Memory::end() {
    ended_ = true;
    if (remote_access_ && remote_access_ >= current->warp->met[cluster_scope])
        fault("ends with its block, whose shared memory another block has used since the last cluster_sync");
}

void Memory::check_remote() {
    if (ended_) fault("access to shared memory of block %d, which has ended", block_->index);
    if (current->warp->met[cluster_scope] == started_)
        fault("access to shared memory of block %d before the first cluster_sync: it may not have started",
              block_->index);
    remote_access_ = machine.clock;
}

void Memory::check_read(int at) {
    const Thread& self = *current;
    if (block_ != self.block) check_remote();
    Cell& cell = cells_[at];
    if (cell.writer >= kPending) {
        if (cell.writer == kNobody) fault("float %d of shared memory is read before it was written", at);
        fault("float %d of shared memory is read before thread %d waited for its copy", at, index_of(cell.writer));
    }
    if (!machine.settings.check_races) return;
    if (!ordered(cell.writer, cell.written, self))
        fault("race: float %d of shared memory is read, and was written by thread %d with no barrier in between", at,
              index_of(cell.writer));
    if (cell.reader == kNobody || ordered(cell.reader, cell.read, self)) {
        cell.reader = self.mark;
    } else {
        cell.reader = Mark(self.mark | common_group(cell.reader, self) << kMarkBits);
    }
    cell.read = machine.clock;
}

void Memory::check_write(int at) {
    const Thread& self = *current;
    if (block_ != self.block) check_remote();
    Cell& cell = cells_[at];
    if (cell.writer >= kPending && cell.writer != kNobody)
        fault("float %d of shared memory is written before thread %d waited for its copy", at, index_of(cell.writer));
    if (machine.settings.check_races) {
        if (cell.writer != kNobody && !ordered(cell.writer, cell.written, self))
            fault("race: float %d of shared memory is written, and was written by thread %d with no barrier in between",
                  at, index_of(cell.writer));
        if (cell.reader != kNobody && !ordered(cell.reader, cell.read, self))
            fault("race: float %d of shared memory is written, and was read by %s %d with no barrier in between", at,
                  whose(cell.reader), index_of(cell.reader));
    }
    cell = {machine.clock, 0, self.mark, kNobody};
}

void Memory::start_copy(int at, const float* from, bool there) {
    if (reinterpret_cast<uintptr_t>(from) % 16 != 0) fault("copy4 from an address that is no multiple of 16 bytes");
    for (int n = at; n < at + 4; ++n) {
        check_write(n);
        cells_[n].writer = Mark(current->mark | kPending);
    }
    current->copies.push_back({this, at, from, there});
}

void Memory::finish_copy(const Copy& copy) {
    for (int n = 0; n < 4; ++n) {
        cells_[copy.at + n] = {machine.clock, 0, current->mark, kNobody};
        values_[copy.at + n] = copy.there ? copy.from[n] : 0.0f;
    }
}

}  // namespace capsroute::emulation
