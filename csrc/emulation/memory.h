// The shared memory of a block, and what is known of each float in it.
#pragma once

#include <stdint.h>

#include <vector>

namespace capsroute::emulation {

struct Block;
class Memory;

// Who accessed a float: the number of a thread in its cluster (1024 for each block) and, above it, one of the kinds
// below. Where several threads read it, their smallest common group stands for them.
using Mark = uint16_t;
constexpr int kMarkBits = 13;
constexpr Mark kOfThread = 0, kOfWarp = 1 << kMarkBits, kOfBlock = 2 << kMarkBits, kOfCluster = 3 << kMarkBits;
constexpr Mark kPending = 4 << kMarkBits;  // a copy was started by the thread, and not waited for
constexpr Mark kNobody = 7 << kMarkBits;

// A copy from global memory that was started.
struct Copy {
    Memory* memory;
    int at;
    const float* from;
    bool there;
};

class Memory {
   public:
    // `bytes` of NaN that nobody has written.
    void reset(Block& block, int bytes);
    // The block has ended: from now on every access is a fault, and so are those of other blocks that may come later
    // in another order of the threads.
    void end();

    int size() const { return size_; }  // floats

    float load(int at) {
        check_read(at);
        return values_[at];
    }
    void store(int at, float value) {
        check_write(at);
        values_[at] = value;
    }
    void start_copy(int at, const float* from, bool there);
    void finish_copy(const Copy& copy);

   private:
    // The last write, and the reads since then. Times are those of the machine's clock.
    struct Cell {
        uint32_t written, read;
        Mark writer, reader;
    };

    void check_read(int at);
    void check_write(int at);
    void check_remote();  // when another block of the cluster reads or writes

    std::vector<float> values_;
    std::vector<Cell> cells_;
    int size_ = 0;
    Block* block_ = nullptr;
    bool ended_ = false;
    uint32_t started_ = 0;
    uint32_t remote_access_ = 0;  // the last one
};

}  // namespace capsroute::emulation
