// From the blocks of a pass to chunks on the device.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <vector>

#include "cuda/chunk.h"
#include "cuda/device_rows.h"
#include "cuda/tiling.h"
#include "cuda/workspace.h"

namespace vbfast::cuda {

// Consecutive rows of a pass.
struct Block {
    std::int64_t start;  // number of the first row, in the outputs
    HostRows host;
    const DeviceRows* device;  // the same rows, or null
    const double* weights;     // (n_rows,) or null
    const void* given;         // (n_rows, K) or null
    const std::int64_t* given_label;
    // For seeding alone: (n_rows,), and (n_candidates, n_rows) or null.
    const void* closest;
    void* lowered;
    std::int64_t lowered_stride;
};

// Thrown by a pass that its interrupt has ended.
class Interrupted : public std::exception {};

// Asked between chunks whether to give up; may be empty.
using Interrupt = std::function<bool()>;

// A chunk with what it was made of.
template <class T>
struct FedChunk {
    Chunk<T> chunk;  // without joint
    const ChunkPlan* plan;
    const std::vector<Block>* blocks;
    Slot* slot;
    bool extreme;  // squares of differences may leave the range of T

    const Block& block_of(const Piece& piece) const {
        return (*blocks)[static_cast<std::size_t>(piece.block)];
    }
    // Copies what belongs to rows, `width` numbers a row, in the order of the chunk. `read` says
    // where a block has them.
    template <class U, class Read>
    U* gather(Buffer& buffer, std::int64_t width, cudaStream_t stream, const Read& read) const {
        U* values = buffer.reserve<U>(chunk.n_rows() * width);
        for (std::size_t i = 0; i < plan->pieces.size(); ++i) {
            const Piece& piece = plan->pieces[i];
            const U* from = static_cast<const U*>(read(block_of(piece)));
            check(cudaMemcpyAsync(values + place_of(i) * width, from + piece.first * width,
                                  static_cast<std::size_t>(piece.n_rows * width) * sizeof(U),
                                  cudaMemcpyHostToDevice, stream),
                  "a copy to the device");
        }
        return values;
    }
    // The row of the chunk that piece i begins with.
    std::int64_t place_of(std::size_t i) const {
        return std::int64_t{plan->ranges[i].first_tile} * tile_rows;
    }
};

// Calls run(fed) for chunks of up to `most_tiles`, in an order that does not depend on the number
// of tiles. Returns the first row that is not finite, or -1: no chunk that has such rows is run.
template <class T>
std::int64_t feed_chunks(const std::vector<Block>& blocks, const std::vector<std::int64_t>& bounds,
                         std::int64_t most_tiles, Workspace& memory, const Interrupt& interrupt,
                         const std::function<void(const FedChunk<T>&)>& run);

}  // namespace vbfast::cuda
