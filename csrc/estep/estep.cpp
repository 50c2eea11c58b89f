#include "estep/estep.h"

#include <algorithm>

#include "estep/nearest_search.h"
#include "estep/packing.h"
#include "estep/partition_sums.h"
#include "estep/statistics.h"
#include "estep/tile_memory.h"
#include "kernels/estep/table.h"
#include "runtime/lowest_index.h"
#include "runtime/numbers.h"
#include "runtime/thread_count.h"
#include "runtime/tuning.h"

namespace vbfast::estep {

namespace {

void add(TileSums& total, const TileSums& part) {
    total.weight += part.weight;
    total.log_evidence += part.log_evidence;
    total.expected_log_joint += part.expected_log_joint;
    total.entropy += part.entropy;
    total.kl += part.kl;
    total.lowest_log_evidence = std::min(total.lowest_log_evidence, part.lowest_log_evidence);
}

// Neighbours are added, then neighbouring sums, as PartitionSums does.
TileSums merged(std::vector<TileSums> parts) {
    for (; parts.size() > 1; parts.resize((parts.size() + 1) / 2))
        for (std::size_t i = 0; i < parts.size(); i += 2) {
            parts[i / 2] = parts[i];
            if (i + 1 < parts.size()) add(parts[i / 2], parts[i + 1]);
        }
    return parts.front();
}

template <class T>
class EStepOf final : public EStep {
  public:
    EStepOf(const MixtureParameters& parameters, const PassRequest& request, Workspace& workspace,
            int num_threads, const runtime::Interrupt* interrupt, NearestBounds* bounds)
        : kernels_(kernels<T>()),
          request_(request),
          workspace_(workspace),
          means_(parameters.means,
                 parameters.means + parameters.n_components * parameters.n_features),
          sums_(request.bounds.size() - 1, no_sums) {
        pack(parameters, request, kernels_, packed_, num_threads, interrupt);
        if (bounds != nullptr && finds_nearest(parameters, request))
            search_ = std::make_unique<NearestSearch<T>>(parameters, request_, kernels_, packed_,
                                                         *bounds, num_threads, interrupt);
        partial_size_ = packed_.dense_size + packed_.gathered_size + packed_.pooled_size;
        partials_ = std::make_unique<PartitionSums>(workspace, partial_size_, n_partitions(),
                                                    request.open_partitions);
    }

    std::int64_t run(const std::vector<RowBlock>& blocks, int num_threads,
                     const runtime::Interrupt* interrupt) override {
        const std::vector<Piece> pieces = cut<T>(blocks, request_.bounds, request_.tile_rows, K());
        const int threads =
            runtime::threads_for(count_rows(blocks) * operations_per_row(), num_threads);
        if (search_) {
            const std::int64_t bad = run_search(pieces, threads, interrupt);
            if (bad < 0) search_->count(count_rows(blocks));
            return bad;
        }
        return request_.split_components ? run_split(pieces, threads, interrupt)
                                         : run_partitions(pieces, threads, interrupt);
    }

    TileSums sums() const override { return merged(sums_); }

    void statistics(double* weight, double* first, double* second, int num_threads,
                    const runtime::Interrupt* interrupt) override {
        read_moments(packed_.model, kernels_, parts_of(partials_->total()), partial_size_,
                     means_.data(), {weight, first, second}, num_threads, interrupt);
    }

  private:
    std::int64_t n_partitions() const { return static_cast<std::int64_t>(sums_.size()); }

    PartialSums parts_of(double* base) const {
        return {base, base + packed_.dense_size, base + packed_.dense_size + packed_.gathered_size};
    }

    // Runs add_rows(piece, sums, target, worker, region) for every piece, where `sums` and `target`
    // are those of its partition. It returns false where the pass cannot go on.
    template <class AddRows>
    void for_each_piece(const std::vector<Piece>& pieces, int threads,
                        const runtime::Interrupt* interrupt, AddRows add_rows) {
        const auto one = [&](const Piece& piece, int worker, runtime::Region& region) {
            double* partial = partials_->enter(piece.partition, &region, worker);
            if (partial == nullptr) return;
            TileSums& kept = sums_[static_cast<std::size_t>(piece.partition)];
            TileSums sums = kept;  // this thread's, so that others do not wait for its cache line
            const bool whole = add_rows(piece.block, sums, parts_of(partial), worker, region);
            kept = sums;
            partials_->leave(piece.partition, partial, whole && piece.last);
        };
        // A thread takes several neighbours where there are many: what it merges is in its caches.
        const auto n = static_cast<std::int64_t>(pieces.size());
        std::int64_t together = 1;
        while (2 * together * tuning::partitions_a_thread * threads <= n) together *= 2;
        const auto some = [&](std::int64_t task, int worker, runtime::Region& region) {
            for (std::int64_t i = task * together; i < std::min(n, (task + 1) * together); ++i)
                one(pieces[static_cast<std::size_t>(i)], worker, region);
        };
        runtime::parallel(runtime::ceil_div(n, together), threads, interrupt, some);
    }

    std::size_t tile_bytes() const {
        Tile<T> tile;
        return lay_out(tile, request_.tile_rows, kernels_.group_rows, packed_.model.joint_stride,
                       D(), !packed_.model.all_near, request_.gradient != nullptr, nullptr);
    }

    // Whitened rows of the tile that a worker is at, where the pass keeps them; else none.
    std::size_t whitened_bytes() const {
        if (!packed_.model.keeps_whitened) return 0;
        return runtime::aligned_size(static_cast<std::size_t>(request_.tile_rows * K() * D()) *
                                     sizeof(T));
    }

    T* whitened_in(char* memory, int worker) const {
        const std::size_t bytes = whitened_bytes();
        return bytes ? reinterpret_cast<T*>(memory + bytes * static_cast<std::size_t>(worker))
                     : nullptr;
    }

    Tile<T> tile_in(char* memory) const {
        Tile<T> tile;
        lay_out(tile, request_.tile_rows, kernels_.group_rows, packed_.model.joint_stride, D(),
                !packed_.model.all_near, request_.gradient != nullptr, memory);
        tile.assignment = request_.assignment;
        tile.entropy = request_.entropy;
        tile.stop = nullptr;
        return tile;
    }

    // Points a tile at the rows of a block from row `first` on, and at their outputs.
    void point_at_rows(Tile<T>& tile, const RowBlock& block, std::int64_t first) const {
        point_at(tile, block, first, std::min(request_.tile_rows, block.n_rows - first), K());
        const std::int64_t row = block.start + first;
        const auto at = [row](void* output) {
            return output ? static_cast<T*>(output) + row : nullptr;
        };
        tile.out_log_evidence = at(request_.log_evidence);
        tile.out_entropy = at(request_.row_entropy);
        tile.out_expected_log_joint = at(request_.expected_log_joint);
        tile.out_labels = request_.labels ? request_.labels + row : nullptr;
        tile.out_resp = request_.resp ? static_cast<T*>(request_.resp) + row * K() : nullptr;
        tile.out_gradient =
            request_.gradient ? static_cast<T*>(request_.gradient) + row * D() : nullptr;
        tile.out_log_joint =
            request_.log_joint ? static_cast<T*>(request_.log_joint) + row * K() : nullptr;
    }

    std::int64_t run_partitions(const std::vector<Piece>& pieces, int threads,
                                const runtime::Interrupt* interrupt) {
        const std::size_t bytes = tile_bytes();
        const std::size_t workers = std::min(static_cast<std::size_t>(threads), pieces.size());
        char* memory = workspace_.scratch((bytes + whitened_bytes()) * workers);
        char* whitened = memory + bytes * workers;
        runtime::LowestIndex bad;
        const auto add_rows = [&](const RowBlock& block, TileSums& sums, PartialSums target,
                                  int worker, runtime::Region& region) {
            Tile<T> tile = tile_in(memory + bytes * static_cast<std::size_t>(worker));
            tile.whitened = whitened_in(whitened, worker);
            for (std::int64_t n = 0; n < block.n_rows; n += request_.tile_rows) {
                if (runtime::stop_requested(region, worker)) return false;
                point_at_rows(tile, block, n);
                if (!local_step(tile, region, worker)) return false;
                if (tile.bad_row >= 0) {
                    bad.offer(block.start + n + tile.bad_row);
                    return false;
                }
                add(sums, tile.sums);
                if (!summary_step(tile, 0, K(), target, region, worker)) return false;
            }
            return true;
        };
        for_each_piece(pieces, threads, interrupt, add_rows);
        return bad.index();
    }

    // The labels of some tiles together, then the sums of these tiles.
    std::int64_t run_search(const std::vector<Piece>& pieces, int threads,
                            const runtime::Interrupt* interrupt) {
        const std::size_t bytes = tile_bytes(), scratch = search_->scratch_bytes();
        const std::size_t workers = std::min(static_cast<std::size_t>(threads), pieces.size());
        char* memory = workspace_.scratch((bytes + scratch) * workers);
        runtime::LowestIndex bad;
        const auto add_rows = [&](const RowBlock& block, TileSums& sums, PartialSums target,
                                  int worker, runtime::Region& region) {
            char* own = memory + (bytes + scratch) * static_cast<std::size_t>(worker);
            Tile<T> tile = tile_in(own);
            tile.whitened = nullptr;
            const std::int64_t step = search_->rows_at_once();
            for (std::int64_t first = 0; first < block.n_rows; first += step) {
                if (runtime::stop_requested(region, worker)) return false;
                const std::int64_t n = std::min(step, block.n_rows - first);
                RowRange<T> range;
                const std::int64_t row =
                    search_->find_labels(block, first, n, tile, own + bytes, range);
                if (row >= 0) {
                    bad.offer(block.start + row);
                    return false;
                }
                if (request_.labels)
                    std::copy(range.label, range.label + n, request_.labels + block.start + first);
                if (request_.moments == Moments::first)
                    kernels_.label_sums(packed_.model, range, target.gathered);
                for (std::int64_t m = 0; m < n; m += request_.tile_rows)
                    if (!add_labelled(tile, block, first + m, range.label + m, sums, target, region,
                                      worker))
                        return false;
            }
            return true;
        };
        for_each_piece(pieces, threads, interrupt, add_rows);
        return bad.index();
    }

    // Adds a tile whose labels are known to the sums; false where the region ended.
    bool add_labelled(Tile<T>& tile, const RowBlock& block, std::int64_t first,
                      const std::int32_t* label, TileSums& sums, PartialSums target,
                      runtime::Region& region, int worker) {
        point_at_rows(tile, block, first);
        double weight = tile.weights ? 0.0 : static_cast<double>(tile.n_rows);
        for (std::int64_t n = 0; tile.weights && n < tile.n_rows; ++n) weight += tile.weights[n];
        sums.weight += weight;
        if (request_.moments == Moments::none || request_.moments == Moments::first) return true;
        kernels_.labelled_rows(packed_.model, tile, label);
        return summary_step(tile, 0, K(), target, region, worker);
    }

    // For a model that is too large for one partial statistic a thread: of one partition. Tiles
    // come in waves, of which threads share first the tiles, then the components. The tiles of a
    // component are added up in their order, however many make a wave.
    std::int64_t run_split(const std::vector<Piece>& pieces, int threads,
                           const runtime::Interrupt* interrupt) {
        const std::size_t bytes = tile_bytes();
        const std::size_t workers = static_cast<std::size_t>(threads);
        // As many tiles for every thread, and sixteen at least: waves end together.
        const std::size_t n_tiles = workers * ((15 + workers) / workers);
        char* memory = workspace_.scratch(bytes * (n_tiles + workers) + whitened_bytes() * workers);
        Wave wave{memory + bytes * n_tiles, memory + bytes * (n_tiles + workers), bytes, {}};
        for (std::size_t i = 0; i < n_tiles; ++i) wave.tiles.push_back(tile_in(memory + bytes * i));
        runtime::LowestIndex bad;
        const std::int64_t rows = static_cast<std::int64_t>(n_tiles) * request_.tile_rows;
        for (const auto& [partition, block, ends] : pieces) {
            double* partial = partials_->enter(partition, nullptr, 0);
            for (std::int64_t start = 0; start < block.n_rows; start += rows) {
                const std::int64_t count =
                    runtime::ceil_div(std::min(rows, block.n_rows - start), request_.tile_rows);
                const auto one_tile = [&, start, &rows_of = block](std::int64_t task, int worker,
                                                                   runtime::Region& region) {
                    Tile<T>& tile = wave.tiles[static_cast<std::size_t>(task)];
                    tile.whitened = whitened_in(wave.whitened, worker);
                    const std::int64_t first = start + task * request_.tile_rows;
                    point_at_rows(tile, rows_of, first);
                    if (!local_step(tile, region, worker)) return;
                    if (tile.bad_row >= 0) bad.offer(rows_of.start + first + tile.bad_row);
                };
                runtime::parallel(count, threads, interrupt, one_tile);
                if (bad.index() >= 0) return bad.index();
                for (std::int64_t i = 0; i < count; ++i)
                    add(sums_[static_cast<std::size_t>(partition)],
                        wave.tiles[static_cast<std::size_t>(i)].sums);
                if (request_.moments != Moments::none)
                    summarise(wave, count, parts_of(partial), threads, interrupt);
            }
            partials_->leave(partition, partial, ends);
        }
        return -1;
    }

    // Tiles whose local step runs before a split summary step.
    struct Wave {
        char* memory;    // a tile's, for each thread
        char* whitened;  // likewise
        std::size_t bytes;
        std::vector<Tile<T>> tiles;
    };

    void summarise(const Wave& wave, std::int64_t count, PartialSums target, int threads,
                   const runtime::Interrupt* interrupt) {
        const bool pooled = request_.moments == Moments::pooled;
        // All components that gather rows add to the same pooled scatter: one task takes them all.
        const bool together = pooled && packed_.gathered_size > 0;
        const std::int64_t tasks = 4 * static_cast<std::int64_t>(threads);
        const std::int64_t step =
            together ? K()
                     : std::max<std::int64_t>(1, K() / tasks / kernels_.moment_components) *
                           kernels_.moment_components;
        // Else task 0 takes the scatter, and the others what the components have of their own.
        const std::int64_t alone = pooled && !together ? 1 : 0;
        const auto some_components = [&](std::int64_t task, int worker, runtime::Region& region) {
            const Tile<T> own =
                tile_in(wave.memory + wave.bytes * static_cast<std::size_t>(worker));
            const bool scatter = task < alone;
            const std::int64_t first = scatter ? 0 : (task - alone) * step;
            const std::int64_t last = scatter ? K() : std::min(K(), first + step);
            PartialSums sums = target;
            if (alone) (scatter ? sums.dense : sums.pooled) = nullptr;
            for (std::int64_t i = 0; i < count; ++i) {
                if (runtime::stop_requested(region, worker)) return;
                Tile<T> tile = wave.tiles[static_cast<std::size_t>(i)];
                tile.row_major = own.row_major;
                tile.gathered = own.gathered;
                tile.gathered_weight = own.gathered_weight;
                tile.group_scratch = own.group_scratch;
                tile.panel = own.panel;
                tile.block_sums = own.block_sums;
                if (!summary_step(tile, first, last, sums, region, worker)) return;
            }
        };
        runtime::parallel(alone + runtime::ceil_div(K(), step), threads, interrupt,
                          some_components);
    }

    // The number of components for which a tile takes some milliseconds, a multiple of those that
    // the kernels take together.
    std::int64_t components_at_once() const {
        const std::int64_t each = request_.tile_rows * operations_per_row() / K();
        return std::max<std::int64_t>(
                   1, tuning::interrupt_operations / each / kernels_.moment_components) *
               kernels_.moment_components;
    }

    // The local step of a tile; false where it ended early, with the region. Where it may take
    // long, the kernel itself asks whether the region ends.
    bool local_step(Tile<T>& tile, runtime::Region& region, int worker) const {
        struct Asker {
            runtime::Region& region;
            int worker;
        } asker{region, worker};
        if (K() > components_at_once()) {
            tile.stop_context = &asker;
            tile.stop = [](void* context) {
                const Asker& from = *static_cast<Asker*>(context);
                return runtime::stop_requested(from.region, from.worker);
            };
        }
        kernels_.local_step(packed_.model, tile);
        const bool ended = tile.stop != nullptr && runtime::stop_requested(region, worker);
        tile.stop = nullptr;
        return !ended;
    }

    // The summary step of components first to last - 1; false likewise.
    bool summary_step(Tile<T>& tile, std::int64_t first, std::int64_t last, PartialSums target,
                      runtime::Region& region, int worker) const {
        if (request_.moments == Moments::none) return true;
        const std::int64_t step = components_at_once();
        for (std::int64_t k = first; k < last; k += step) {
            if (k > first && runtime::stop_requested(region, worker)) return false;
            kernels_.summary_step(packed_.model, tile, k, std::min(last, k + step), target.dense,
                                  target.gathered, target.pooled);
        }
        return true;
    }

    std::int64_t K() const { return packed_.model.n_components; }
    std::int64_t D() const { return packed_.model.n_features; }
    // Roughly, as bench/small_fits.py measures them: a row is loaded and its responsibilities are
    // made, a component has an exponential and a product with each number of its precision.
    std::int64_t operations_per_row() const {
        const Form form = packed_.model.form;
        const std::int64_t square = D() * D();
        const std::int64_t component = 12 + (form == Form::full ? square : D());
        return 100 + 10 * D() + (form == Form::tied ? square : 0) + K() * component;
    }

    const Kernels<T>& kernels_;
    const PassRequest request_;
    Workspace& workspace_;
    const std::vector<double> means_;
    PackedModel<T> packed_;
    std::unique_ptr<NearestSearch<T>> search_;  // null where the pass takes no bounds
    std::vector<TileSums> sums_;
    std::int64_t partial_size_ = 0;
    std::unique_ptr<PartitionSums> partials_;
};

}  // namespace

template <class T>
std::unique_ptr<EStep> make_estep(const MixtureParameters& parameters, const PassRequest& request,
                                  Workspace& workspace, int num_threads,
                                  const runtime::Interrupt* interrupt, NearestBounds* bounds) {
    return std::make_unique<EStepOf<T>>(parameters, request, workspace, num_threads, interrupt,
                                        bounds);
}

template std::unique_ptr<EStep> make_estep<float>(const MixtureParameters&, const PassRequest&,
                                                  Workspace&, int, const runtime::Interrupt*,
                                                  NearestBounds*);
template std::unique_ptr<EStep> make_estep<double>(const MixtureParameters&, const PassRequest&,
                                                   Workspace&, int, const runtime::Interrupt*,
                                                   NearestBounds*);
}  // namespace vbfast::estep
