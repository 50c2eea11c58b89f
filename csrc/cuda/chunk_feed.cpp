#include "cuda/chunk_feed.h"

#include <algorithm>

namespace vbfast::cuda {

namespace {

// How many partitions a chunk has rows of that come from the host: each is a copy of its own.
constexpr std::size_t read_together = 16;

template <class T>
class Feed {
  public:
    Feed(const std::vector<Block>& blocks, Workspace& memory, const Interrupt& interrupt,
         const std::function<void(const FedChunk<T>&)>& run)
        : blocks_(blocks), memory_(memory), interrupt_(interrupt), run_(run) {}

    void note_bad(std::int64_t row) {
        if (first_bad < 0 || row < first_bad) first_bad = row;
    }

    // While the device works on a chunk, the next one is copied into the other slot.
    void run(const std::vector<Piece>& pieces, std::int64_t most_tiles) {
        for (const ChunkPlan& plan : plan_chunks(pieces, most_tiles)) {
            if (interrupt_ && interrupt_()) throw Interrupted();
            Slot& slot = memory_.slots[begun_++ % memory_.slots.size()];
            slot.used.wait();
            FedChunk<T> fed{{}, &plan, &blocks_, &slot, false};
            fill(fed);
            slot.filled.record(memory_.copy);
            slot.filled.hold_back(memory_.compute);
            if (first_bad < 0) run_(fed);
            slot.used.record(memory_.compute);
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
                fed.template gather<double>(fed.slot->weights, 1, memory_.copy,
                                            [](const Block& block) { return block.weights; });
        chunk.tiles = upload(fed.slot->tiles, plan.tiles, memory_.copy);
        chunk.ranges = upload(fed.slot->ranges, plan.ranges, memory_.copy);
    }

    void read_rows(FedChunk<T>& fed) {
        Chunk<T>& chunk = fed.chunk;
        const int D = chunk.n_features;
        T* rows = fed.slot->rows.template reserve<T>(chunk.n_rows() * D);
        chunk.rows = rows;
        chunk.rows_in_order = true;
        // Places of tiles that are not full have ordinary numbers, as the rows are looked at.
        check(cudaMemsetAsync(rows, 0, static_cast<std::size_t>(chunk.n_rows() * D) * sizeof(T),
                              memory_.copy),
              "clearing rows");
        for (std::size_t i = 0; i < fed.plan->pieces.size(); ++i) {
            const Piece& piece = fed.plan->pieces[i];
            HostRows host = fed.block_of(piece).host;
            host.rows = static_cast<const char*>(host.rows) + piece.first * host.row_stride;
            host.n_rows = piece.n_rows;
            copy_rows(host, rows + fed.place_of(i) * D, packed_, memory_.copy);
        }
        const RowsFound found =
            look_at(rows, D, chunk.n_rows(), D,
                    fed.slot->looked.template reserve<unsigned long long>(2), memory_.copy);
        fed.extreme = found.extreme;
        if (found.first_bad == chunk.n_rows()) return;
        // The first one in the chunk is the first one of its piece; pieces are in the order of
        // rows.
        for (std::size_t i = 0; i < fed.plan->pieces.size(); ++i) {
            const std::int64_t in_piece = found.first_bad - fed.place_of(i);
            const Piece& piece = fed.plan->pieces[i];
            if (in_piece >= 0 && in_piece < piece.n_rows) note_bad(piece.output_row + in_piece);
        }
    }

    const std::vector<Block>& blocks_;
    Workspace& memory_;
    const Interrupt& interrupt_;
    const std::function<void(const FedChunk<T>&)>& run_;
    std::vector<T> packed_;
    std::size_t begun_ = 0;
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
    for (std::size_t first = 0; first < read.size(); first += read_together)
        feed.run({read.begin() + static_cast<std::ptrdiff_t>(first),
                  read.begin() +
                      static_cast<std::ptrdiff_t>(std::min(first + read_together, read.size()))},
                 most_tiles);
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
