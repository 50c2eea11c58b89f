#include "cuda/chunk_feed.h"

#include <algorithm>

namespace vbfast::cuda {

namespace {

// Chunks that are begun before the host waits for the device, to look whether to give up.
constexpr int chunks_ahead = 8;

template <class T>
class Feed {
  public:
    Feed(const std::vector<Block>& blocks, Workspace& memory, const Interrupt& interrupt,
         const std::function<void(const FedChunk<T>&)>& run)
        : blocks_(blocks), memory_(memory), interrupt_(interrupt), run_(run) {}

    void note_bad(std::int64_t row) {
        if (first_bad < 0 || row < first_bad) first_bad = row;
    }

    void run(const std::vector<Piece>& pieces, std::int64_t most_tiles) {
        for (const ChunkPlan& plan : plan_chunks(pieces, most_tiles)) {
            if (++begun_ % chunks_ahead == 0) memory_.compute.wait();
            if (interrupt_ && interrupt_()) throw Interrupted();
            FedChunk<T> fed{{}, &plan, &blocks_, &memory_.slots[begun_ % 2], false};
            fill(fed);
            if (first_bad < 0) run_(fed);
        }
    }

    std::int64_t first_bad = -1;

  private:
    // Copies what every chunk has to the device.
    void fill(FedChunk<T>& fed) {
        const ChunkPlan& plan = *fed.plan;
        Chunk<T>& chunk = fed.chunk;
        const Block& first = fed.block_of(plan.pieces.front());
        chunk.n_features = static_cast<int>(first.host.n_features);
        chunk.row_stride = chunk.n_features;
        chunk.n_tiles = static_cast<int>(plan.tiles.size());
        chunk.n_ranges = static_cast<int>(plan.ranges.size());
        if (first.device) {
            chunk.rows = static_cast<const T*>(first.device->data());
            chunk.row_stride = first.device->row_stride;
            fed.extreme = first.device->found.extreme;
        } else {
            read_rows(fed);
        }
        if (first.weights)
            chunk.weights =
                fed.template gather<double>(fed.slot->weights, 1, memory_.compute,
                                            [](const Block& block) { return block.weights; });
        chunk.tiles = upload(fed.slot->tiles, plan.tiles, memory_.compute);
        chunk.ranges = upload(fed.slot->ranges, plan.ranges, memory_.compute);
    }

    void read_rows(FedChunk<T>& fed) {
        Chunk<T>& chunk = fed.chunk;
        const int D = chunk.n_features;
        T* rows = fed.slot->rows.template reserve<T>(chunk.n_rows() * D);
        unsigned long long* looked = fed.slot->looked.template reserve<unsigned long long>(2);
        chunk.rows = rows;
        chunk.rows_in_order = true;
        for (std::size_t i = 0; i < fed.plan->pieces.size(); ++i) {
            const Piece& piece = fed.plan->pieces[i];
            T* to = rows + fed.place_of(i) * D;
            HostRows host = fed.block_of(piece).host;
            host.rows = static_cast<const char*>(host.rows) + piece.first * host.row_stride;
            host.n_rows = piece.n_rows;
            copy_rows(host, to, packed_, memory_.compute);
            const RowsFound found = look_at(to, D, piece.n_rows, D, looked, memory_.compute);
            if (found.first_bad < piece.n_rows) note_bad(piece.output_row + found.first_bad);
            fed.extreme = fed.extreme || found.extreme;
        }
    }

    const std::vector<Block>& blocks_;
    Workspace& memory_;
    const Interrupt& interrupt_;
    const std::function<void(const FedChunk<T>&)>& run_;
    std::vector<T> packed_;
    int begun_ = 0;
};

}  // namespace

template <class T>
std::int64_t feed_chunks(const std::vector<Block>& blocks, const std::vector<std::int64_t>& bounds,
                         std::int64_t most_tiles, Workspace& memory, const Interrupt& interrupt,
                         const std::function<void(const FedChunk<T>&)>& run) {
    Feed<T> feed(blocks, memory, interrupt, run);
    std::vector<char> taken(bounds.size(), 0);
    std::vector<Piece> read;  // from the host
    std::vector<std::vector<Piece>> resident(blocks.size());
    for (std::size_t b = 0; b < blocks.size(); ++b) {
        const Block& block = blocks[b];
        const auto pieces = cut(static_cast<int>(b), block.start, block.host.n_rows, bounds, taken);
        std::vector<Piece>& to = block.device ? resident[b] : read;
        to.insert(to.end(), pieces.begin(), pieces.end());
        if (block.device && block.device->found.first_bad < block.host.n_rows)
            feed.note_bad(block.start + block.device->found.first_bad);
    }
    if (feed.first_bad >= 0) return feed.first_bad;
    for (const std::vector<Piece>& pieces : resident) feed.run(pieces, most_tiles);
    feed.run(read, most_tiles);
    memory.compute.wait();
    return feed.first_bad;
}

template std::int64_t feed_chunks(const std::vector<Block>&, const std::vector<std::int64_t>&,
                                  std::int64_t, Workspace&, const Interrupt&,
                                  const std::function<void(const FedChunk<float>&)>&);
template std::int64_t feed_chunks(const std::vector<Block>&, const std::vector<std::int64_t>&,
                                  std::int64_t, Workspace&, const Interrupt&,
                                  const std::function<void(const FedChunk<double>&)>&);

}  // namespace vbfast::cuda
