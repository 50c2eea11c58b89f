#include "estep/seeding.h"

#include <algorithm>

#include "estep/tile_memory.h"
#include "kernels/estep/table.h"
#include "runtime/lowest_index.h"
#include "runtime/memory.h"
#include "runtime/thread_count.h"

namespace vbfast::estep {

namespace {

template <class T>
class SeedingOf final : public Seeding {
  public:
    SeedingOf(const double* candidates, std::int64_t n_candidates, std::int64_t n_features,
              const std::vector<std::int64_t>& bounds, std::int64_t tile_rows)
        : kernels_(kernels<T>()),
          n_candidates_(n_candidates),
          n_features_(n_features),
          tile_rows_(tile_rows),
          bounds_(bounds),
          sums_((bounds.size() - 1) * static_cast<std::size_t>(n_candidates), 0.0) {
        candidates_.assign(candidates, candidates + n_candidates * n_features);
    }

    std::int64_t run(const std::vector<RowBlock>& blocks, int num_threads,
                     const runtime::Interrupt* interrupt) override {
        const std::vector<Piece> pieces = cut<T>(blocks, bounds_, tile_rows_, n_candidates_);
        const int threads =
            runtime::threads_for(count_rows(blocks) * n_candidates_ * n_features_, num_threads);
        Tile<T> sized;
        const std::size_t bytes = lay_out(sized, tile_rows_, kernels_.group_rows,
                                          kernels_.group_rows, n_features_, false, false, nullptr);
        runtime::Buffer buffer;
        char* memory =
            static_cast<char*>(buffer.reserve(bytes * static_cast<std::size_t>(threads)));
        runtime::LowestIndex bad;
        runtime::parallel(
            static_cast<std::int64_t>(pieces.size()), threads, interrupt,
            [&](std::int64_t task, int worker, runtime::Region& region) {
                const auto& [partition, block, last] = pieces[static_cast<std::size_t>(task)];
                Tile<T> tile;
                lay_out(tile, tile_rows_, kernels_.group_rows, kernels_.group_rows, n_features_,
                        false, false, memory + bytes * static_cast<std::size_t>(worker));
                for (std::int64_t n = 0; n < block.n_rows; n += tile_rows_) {
                    if (runtime::stop_requested(region, worker)) return;
                    point_at(tile, block, n, std::min(tile_rows_, block.n_rows - n), 1);
                    kernels_.seeding_step(
                        tile, n_features_, candidates_.data(), n_candidates_,
                        static_cast<const T*>(block.closest) + n,
                        block.lowered ? static_cast<T*>(block.lowered) + n : nullptr,
                        block.lowered_stride, sums_.data() + partition * n_candidates_);
                    if (tile.bad_row >= 0) return bad.offer(block.start + n + tile.bad_row);
                }
            });
        return bad.index();
    }

    std::vector<double> potentials() const override {
        std::vector<double> total(static_cast<std::size_t>(n_candidates_), 0.0);
        for (std::size_t i = 0; i < sums_.size(); ++i)
            total[i % static_cast<std::size_t>(n_candidates_)] += sums_[i];
        return total;
    }

  private:
    const Kernels<T>& kernels_;
    const std::int64_t n_candidates_;
    const std::int64_t n_features_;
    const std::int64_t tile_rows_;
    const std::vector<std::int64_t> bounds_;
    std::vector<T> candidates_;
    std::vector<double> sums_;
};

}  // namespace

template <class T>
std::unique_ptr<Seeding> make_seeding(const double* candidates, std::int64_t n_candidates,
                                      std::int64_t n_features,
                                      const std::vector<std::int64_t>& bounds,
                                      std::int64_t tile_rows) {
    return std::make_unique<SeedingOf<T>>(candidates, n_candidates, n_features, bounds, tile_rows);
}

template std::unique_ptr<Seeding> make_seeding<float>(const double*, std::int64_t, std::int64_t,
                                                      const std::vector<std::int64_t>&,
                                                      std::int64_t);
template std::unique_ptr<Seeding> make_seeding<double>(const double*, std::int64_t, std::int64_t,
                                                       const std::vector<std::int64_t>&,
                                                       std::int64_t);

}  // namespace vbfast::estep
