#include "estep/estep.h"

#include <algorithm>
#include <limits>

#include "estep/packing.h"
#include "estep/tile_memory.h"
#include "kernels/estep/table.h"
#include "runtime/lowest_index.h"
#include "runtime/thread_count.h"

namespace vbfast::estep {

namespace {

constexpr std::int64_t wave_tiles = 16;  // tiles whose local step runs before a split summary step

void add(TileSums& total, const TileSums& part) {
    total.weight += part.weight;
    total.log_evidence += part.log_evidence;
    total.expected_log_joint += part.expected_log_joint;
    total.entropy += part.entropy;
    total.kl += part.kl;
    total.lowest_log_evidence = std::min(total.lowest_log_evidence, part.lowest_log_evidence);
}

template <class T>
class EStepOf final : public EStep {
  public:
    EStepOf(const MixtureParameters& parameters, const PassRequest& request, Workspace& workspace,
            int num_threads, const runtime::Interrupt* interrupt)
        : kernels_(kernels<T>()),
          request_(request),
          workspace_(workspace),
          means_(parameters.means,
                 parameters.means + parameters.n_components * parameters.n_features),
          sums_(static_cast<std::size_t>(request.n_partitions), no_sums) {
        pack(parameters, request, kernels_, packed_, num_threads, interrupt);
        partial_size_ = packed_.dense_size + packed_.listed_size + packed_.pooled_size;
        const std::int64_t total = partial_size_ * request.n_partitions;
        partials_ = workspace.partials(static_cast<std::size_t>(total));
        constexpr std::int64_t chunk = 1 << 20;
        runtime::parallel((total + chunk - 1) / chunk, runtime::threads_for(total, num_threads),
                          interrupt, [&](std::int64_t task, int, runtime::Region&) {
                              std::fill(partials_ + task * chunk,
                                        partials_ + std::min(total, (task + 1) * chunk), 0.0);
                          });
    }

    std::int64_t run(const std::vector<RowBlock>& blocks, int num_threads,
                     const runtime::Interrupt* interrupt) override {
        const int threads =
            runtime::threads_for(count_rows(blocks) * operations_per_row(), num_threads);
        return request_.split_components ? run_split(blocks, threads, interrupt)
                                         : run_partitions(blocks, threads, interrupt);
    }

    TileSums sums() const override {
        TileSums total = no_sums;
        for (const TileSums& part : sums_) add(total, part);
        return total;
    }

    void statistics(double* weight, double* first, double* second, int num_threads,
                    const runtime::Interrupt* interrupt) override;

  private:
    struct Partial {
        double* dense;
        double* listed;
        double* pooled;
    };

    Partial partial(std::int64_t partition) const {
        double* base = partials_ + partition * partial_size_;
        return {base, base + packed_.dense_size, base + packed_.dense_size + packed_.listed_size};
    }

    std::size_t tile_bytes() const {
        Tile<T> tile;
        return lay_out(tile, request_.tile_rows, kernels_.group_rows, packed_.model.joint_stride,
                       D(), !packed_.model.all_near, request_.gradient != nullptr, nullptr);
    }

    // Whitened rows of the tile that a worker is at, where the pass keeps them; else none.
    std::size_t whitened_bytes() const {
        if (!packed_.model.keeps_whitened) return 0;
        return aligned_size(static_cast<std::size_t>(request_.tile_rows * K() * D()) * sizeof(T));
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

    void take(Tile<T>& tile, const RowBlock& block, std::int64_t first) const {
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

    std::int64_t run_partitions(const std::vector<RowBlock>& blocks, int threads,
                                const runtime::Interrupt* interrupt) {
        const std::size_t bytes = tile_bytes();
        const std::size_t workers = std::min(static_cast<std::size_t>(threads), blocks.size());
        char* memory = workspace_.scratch((bytes + whitened_bytes()) * workers);
        char* whitened = memory + bytes * workers;
        runtime::LowestIndex bad;
        const auto rows_of_block = [&](std::int64_t task, int worker, runtime::Region& region) {
            const RowBlock& block = blocks[static_cast<std::size_t>(task)];
            Tile<T> tile = tile_in(memory + bytes * static_cast<std::size_t>(worker));
            tile.whitened = whitened_in(whitened, worker);
            for (std::int64_t n = 0; n < block.n_rows; n += request_.tile_rows) {
                if (runtime::stop_requested(region, worker)) return;
                take(tile, block, n);
                if (!local_step(tile, region, worker)) return;
                if (tile.bad_row >= 0) return bad.offer(block.start + n + tile.bad_row);
                add(sums_[static_cast<std::size_t>(block.partition)], tile.sums);
                if (!summary_step(tile, 0, K(), partial(block.partition), region, worker)) return;
            }
        };
        runtime::parallel(static_cast<std::int64_t>(blocks.size()), threads, interrupt,
                          rows_of_block);
        return bad.index();
    }

    // A model too large for one partial statistic a partition: waves of tiles, threads sharing
    // first the tiles, then the components. A component's tiles are added up in their order.
    std::int64_t run_split(const std::vector<RowBlock>& blocks, int threads,
                           const runtime::Interrupt* interrupt) {
        const std::size_t bytes = tile_bytes();
        const std::size_t n_tiles = static_cast<std::size_t>(wave_tiles);
        const std::size_t workers = static_cast<std::size_t>(threads);
        char* memory = workspace_.scratch(bytes * (n_tiles + workers) + whitened_bytes() * workers);
        char* whitened = memory + bytes * (n_tiles + workers);
        std::vector<Tile<T>> tiles;
        for (std::size_t i = 0; i < n_tiles; ++i) tiles.push_back(tile_in(memory + bytes * i));
        runtime::LowestIndex bad;
        for (const RowBlock& block : blocks) {
            const Partial target = partial(block.partition);
            for (std::int64_t start = 0; start < block.n_rows;
                 start += wave_tiles * request_.tile_rows) {
                const std::int64_t left = block.n_rows - start;
                const std::int64_t count =
                    std::min(wave_tiles, (left + request_.tile_rows - 1) / request_.tile_rows);
                const auto one_tile = [&](std::int64_t task, int worker, runtime::Region& region) {
                    Tile<T>& tile = tiles[static_cast<std::size_t>(task)];
                    tile.whitened = whitened_in(whitened, worker);
                    const std::int64_t first = start + task * request_.tile_rows;
                    take(tile, block, first);
                    if (!local_step(tile, region, worker)) return;
                    if (tile.bad_row >= 0) bad.offer(block.start + first + tile.bad_row);
                };
                runtime::parallel(count, threads, interrupt, one_tile);
                if (bad.index() >= 0) return bad.index();
                for (std::int64_t i = 0; i < count; ++i)
                    add(sums_[static_cast<std::size_t>(block.partition)],
                        tiles[static_cast<std::size_t>(i)].sums);
                if (request_.moments == Moments::none) continue;
                summarise(tiles, count, target, threads, memory + bytes * n_tiles, bytes,
                          interrupt);
            }
        }
        return -1;
    }

    void summarise(const std::vector<Tile<T>>& tiles, std::int64_t count, Partial target,
                   int threads, char* memory, std::size_t bytes,
                   const runtime::Interrupt* interrupt) {
        // Every component of a pooled scatter adds to the same sums: those stay with one task.
        const std::int64_t step =
            request_.moments == Moments::tied
                ? K()
                : std::max<std::int64_t>(1, K() / wave_tiles / kernels_.moment_components) *
                      kernels_.moment_components;
        const auto some_components = [&](std::int64_t task, int worker, runtime::Region& region) {
            const Tile<T> own = tile_in(memory + bytes * static_cast<std::size_t>(worker));
            for (std::int64_t i = 0; i < count; ++i) {
                if (runtime::stop_requested(region, worker)) return;
                Tile<T> tile = tiles[static_cast<std::size_t>(i)];
                tile.row_major = own.row_major;
                tile.list = own.list;
                tile.list_weight = own.list_weight;
                tile.group_scratch = own.group_scratch;
                tile.panel = own.panel;
                if (!summary_step(tile, task * step, std::min(K(), (task + 1) * step), target,
                                  region, worker))
                    return;
            }
        };
        runtime::parallel((K() + step - 1) / step, threads, interrupt, some_components);
    }

    // So many components that a tile takes some milliseconds for them, a multiple of those that the
    // kernels take together.
    std::int64_t components_at_once() const {
        constexpr std::int64_t operations = 1 << 24;
        const std::int64_t each = request_.tile_rows * operations_per_row() / K();
        return std::max<std::int64_t>(1, operations / each / kernels_.moment_components) *
               kernels_.moment_components;
    }

    // The local step of a tile; false where it was left early, as the region ends. Where it may
    // take long, the kernel asks for that itself.
    bool local_step(Tile<T>& tile, runtime::Region& region, int worker) const {
        struct Place {
            runtime::Region& region;
            int worker;
        } place{region, worker};
        if (K() > components_at_once()) {
            tile.stop_context = &place;
            tile.stop = [](void* context) {
                const Place& at = *static_cast<Place*>(context);
                return runtime::stop_requested(at.region, at.worker);
            };
        }
        kernels_.local_step(packed_.model, tile);
        const bool left = tile.stop != nullptr && runtime::stop_requested(region, worker);
        tile.stop = nullptr;
        return !left;
    }

    // The summary step of components first to last - 1; false likewise.
    bool summary_step(Tile<T>& tile, std::int64_t first, std::int64_t last, Partial target,
                      runtime::Region& region, int worker) const {
        if (request_.moments == Moments::none) return true;
        const std::int64_t step = components_at_once();
        for (std::int64_t k = first; k < last; k += step) {
            if (k > first && runtime::stop_requested(region, worker)) return false;
            kernels_.summary_step(packed_.model, tile, k, std::min(last, k + step), target.dense,
                                  target.listed, target.pooled);
        }
        return true;
    }

    std::int64_t K() const { return packed_.model.n_components; }
    std::int64_t D() const { return packed_.model.n_features; }
    // Of the order of: an exponential a component, and a product with each number of its precision.
    std::int64_t operations_per_row() const {
        const std::int64_t features =
            packed_.model.covariance == Covariance::full ? D() * D() : D();
        return packed_.model.n_components * (8 + features);
    }

    void merge_partials(int num_threads, const runtime::Interrupt* interrupt);

    const Kernels<T>& kernels_;
    const PassRequest request_;
    Workspace& workspace_;
    const std::vector<double> means_;
    PackedModel<T> packed_;
    std::vector<TileSums> sums_;
    std::int64_t partial_size_ = 0;
    double* partials_ = nullptr;
};

template <class T>
void EStepOf<T>::merge_partials(int num_threads, const runtime::Interrupt* interrupt) {
    constexpr std::int64_t chunk = 4096;
    const int threads = runtime::threads_for(partial_size_ * request_.n_partitions, num_threads);
    runtime::parallel((partial_size_ + chunk - 1) / chunk, threads, interrupt,
                      [&](std::int64_t task, int, runtime::Region&) {
                          const std::int64_t last = std::min(partial_size_, (task + 1) * chunk);
                          for (std::int64_t p = 1; p < request_.n_partitions; ++p)
                              for (std::int64_t i = task * chunk; i < last; ++i)
                                  partials_[i] += partials_[p * partial_size_ + i];
                      });
}

// The sums are about a point a: the shift for a dense component, its centre for a listed one.
// With delta = a - mean: sum r (x - mean) = first + N delta, and so on for the second moment.
template <class T>
void EStepOf<T>::statistics(double* weight, double* first, double* second, int num_threads,
                            const runtime::Interrupt* interrupt) {
    merge_partials(num_threads, interrupt);
    const Model<T>& model = packed_.model;
    const std::int64_t K = model.n_components, D = model.n_features;
    const int B = kernels_.moment_components, F = kernels_.moment_features;
    const Partial sums = partial(0);
    const Moments kind = request_.moments;
    const bool full = kind == Moments::full;
    const auto triangle_at = [](std::int64_t i, std::int64_t j) {
        const std::int64_t b = i / 8;
        return 32 * b * (b + 1) + (i - 8 * b) * 8 * (b + 1) + j;
    };
    std::vector<double> delta(static_cast<std::size_t>(K * D));
    const int threads = runtime::threads_for(partial_size_, num_threads);
    runtime::parallel(K, threads, interrupt, [&](std::int64_t k, int, runtime::Region&) {
        const bool listed = model.listed[k];
        const double* dense = sums.dense + k / B * model.dense_stride + k % B * F;
        const double* list = sums.listed + k * model.listed_stride;
        // Moment m of the dense layout, or entry m of the list's.
        const auto dense_at = [&](std::int64_t m) { return dense[m / F * F * B + m % F]; };
        const auto at = [&](std::int64_t m) { return listed ? list[m] : dense_at(m); };
        double* d = delta.data() + k * D;
        const double N = at(0);
        weight[k] = N;
        for (std::int64_t i = 0; i < D; ++i) {
            const double centre =
                listed ? static_cast<double>(model.centres[k * model.padded_features + i]) : 0.0;
            const double shift =
                listed && !model.all_near ? 0.0 : static_cast<double>(model.shift[i]);
            d[i] = centre + shift - means_[k * D + i];
            first[k * D + i] = at(1 + i) + N * d[i];
        }
        // sum r (x-mean)_i (x-mean)_j, from the sum about a and the first moments about a and mean.
        const auto moved = [&](double about_a, std::int64_t i, std::int64_t j) {
            return about_a + d[i] * at(1 + j) + first[k * D + i] * d[j];
        };
        if (kind == Moments::diag)
            for (std::int64_t i = 0; i < D; ++i)
                second[k * D + i] = std::max(0.0, moved(at(1 + D + i), i, i));
        if (kind == Moments::spherical) {
            double sum = at(1 + D);
            for (std::int64_t i = 0; i < D; ++i) sum = moved(sum, i, i);
            second[k] = std::max(0.0, sum / static_cast<double>(D));
        }
        if (full) {
            double* out = second + k * D * D;
            for (std::int64_t i = 0; i < D; ++i)
                for (std::int64_t j = 0; j <= i; ++j) {
                    const double about_a = listed ? list[1 + D + triangle_at(i, j)]
                                                  : dense_at(1 + D + i * (i + 1) / 2 + j);
                    out[i * D + j] = out[j * D + i] = moved(about_a, i, j);
                }
        }
    });
    if (kind != Moments::tied) return;
    const auto pooled_row = [&](std::int64_t i, int worker, runtime::Region& region) {
        for (std::int64_t j = 0; j <= i; ++j) {
            if (j % 256 == 255 && runtime::stop_requested(region, worker)) return;
            double sum = sums.pooled[triangle_at(i, j)];
            for (std::int64_t k = 0; k < K; ++k) {
                const double* d = delta.data() + k * D;
                const double about_j = first[k * D + j] - weight[k] * d[j];
                sum += d[i] * about_j + first[k * D + i] * d[j];
            }
            second[i * D + j] = second[j * D + i] = sum;
        }
    };
    runtime::parallel(D, runtime::threads_for(D * D * K, num_threads), interrupt, pooled_row);
}

}  // namespace

template <class T>
std::unique_ptr<EStep> make_estep(const MixtureParameters& parameters, const PassRequest& request,
                                  Workspace& workspace, int num_threads,
                                  const runtime::Interrupt* interrupt) {
    return std::make_unique<EStepOf<T>>(parameters, request, workspace, num_threads, interrupt);
}

template std::unique_ptr<EStep> make_estep<float>(const MixtureParameters&, const PassRequest&,
                                                  Workspace&, int, const runtime::Interrupt*);
template std::unique_ptr<EStep> make_estep<double>(const MixtureParameters&, const PassRequest&,
                                                   Workspace&, int, const runtime::Interrupt*);
}  // namespace vbfast::estep
