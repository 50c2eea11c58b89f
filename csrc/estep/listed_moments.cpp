#include "estep/listed_moments.h"

#include <algorithm>
#include <memory>

#include "runtime/compiler.h"
#include "runtime/memory.h"
#include "runtime/numbers.h"
#include "runtime/thread_count.h"
#include "runtime/tuning.h"

namespace vbfast::estep {

namespace {

// Rows that a component gathers at a time.
constexpr std::int64_t gathered_rows = 256;

// What a thread gathers rows in.
template <class T>
struct Gatherer {
    explicit Gatherer(std::int64_t padded) {
        constexpr std::int64_t line = runtime::cache_line / sizeof(T);
        constexpr std::int64_t size = sizeof(T);
        // An odd number of cache lines, as in tile_memory.cpp.
        tile.panel_stride = (padded / line | 1) * line;
        const std::int64_t rows = std::clamp<std::int64_t>(
            tuning::gathered_panel / (tile.panel_stride * size), 32, gathered_rows);
        tile.panel_size = rows * tile.panel_stride;
        runtime::Arena counted(nullptr);
        counted.take(tile.panel, tile.panel_size);
        counted.take(tile.gathered_weight, gathered_rows);
        runtime::Arena arena(memory.reserve(counted.size()));
        arena.take(tile.panel, tile.panel_size);
        arena.take(tile.gathered_weight, gathered_rows);
    }
    runtime::Buffer memory;
    Tile<T> tile{};
};

// Components in groups of about as many rows each.
std::vector<std::int64_t> even_groups(const std::vector<std::int64_t>& begin,
                                      std::int64_t n_groups) {
    const auto K = static_cast<std::int64_t>(begin.size()) - 1;
    // A component without rows costs a little too.
    const auto cost = [&](std::int64_t k) { return begin[k] + k; };
    std::vector<std::int64_t> bounds{0};
    for (std::int64_t k = 1; k <= K; ++k)
        if (cost(k) * n_groups >= cost(K) * static_cast<std::int64_t>(bounds.size()))
            bounds.push_back(k);
    return bounds;
}

}  // namespace

template <class T>
ListedMoments<T>::ListedMoments(const PackedCandidates<T>& packed, Workspace& workspace)
    : kernels_(kernels<T>()),
      packed_(packed),
      size_(packed.model.n_components * packed.moments.gathered_stride),
      sums_(workspace.partial(0, static_cast<std::size_t>(size_ + packed.pooled_size))),
      pooled_(sums_ + size_) {
    std::fill_n(sums_, size_ + packed.pooled_size, 0.0);
}

template <class T>
void ListedMoments<T>::add(SearchedRows<T>& searched, std::int64_t n_rows, std::int64_t n_kept,
                           int num_threads, const runtime::Interrupt* interrupt) {
    const Model<T>& model = packed_.moments;
    const std::int64_t K = model.n_components, P = model.padded_features, D = model.n_features;
    std::vector<std::int64_t> begin(static_cast<std::size_t>(K) + 1, 0);
    const std::int64_t n_pairs = n_rows * n_kept;
    for (std::int64_t i = 0; i < n_pairs; ++i)
        if (searched.weight[i] > T(0)) ++begin[searched.kept[i] + 1];
    for (std::int64_t k = 0; k < K; ++k) begin[k + 1] += begin[k];
    std::vector<std::int64_t> next(begin.begin(), begin.end() - 1);
    for (std::int64_t n = 0, i = 0; n < n_rows; ++n)
        for (std::int64_t c = 0; c < n_kept; ++c, ++i) {
            if (!(searched.weight[i] > T(0))) continue;
            const std::int64_t at = next[searched.kept[i]]++;
            searched.listed[at] = static_cast<std::int32_t>(n);
            searched.listed_weight[at] = searched.weight[i];
        }

    const std::int64_t shared = packed_.pooled_size;
    const std::int64_t most = shared ? tuning::most_pooled_doubles / shared : 256;
    const std::vector<std::int64_t> bounds =
        even_groups(begin, std::clamp<std::int64_t>(most, 1, 256));
    const auto n_groups = static_cast<std::int64_t>(bounds.size()) - 1;
    std::vector<double> pooled(static_cast<std::size_t>(shared * n_groups), 0.0);
    const bool outer = model.moments == Moments::full || model.moments == Moments::pooled;
    const int threads = runtime::threads_for(begin[K] * (outer ? D * D / 2 : 3 * D), num_threads);
    std::vector<std::unique_ptr<Gatherer<T>>> gatherers(static_cast<std::size_t>(threads));
    runtime::parallel(
        n_groups, threads, interrupt, [&](std::int64_t group, int worker, runtime::Region& region) {
            std::unique_ptr<Gatherer<T>>& own = gatherers[static_cast<std::size_t>(worker)];
            if (!own) own = std::make_unique<Gatherer<T>>(P);
            Tile<T>& tile = own->tile;
            tile.row_major = searched.rows;
            for (std::int64_t k = bounds[group]; k < bounds[group + 1]; ++k) {
                double* const sums = sums_ + k * model.gathered_stride;
                double* const second = shared ? pooled.data() + group * shared : sums + 1 + D;
                for (std::int64_t at = begin[k]; at < begin[k + 1]; at += gathered_rows) {
                    if (runtime::stop_requested(region, worker)) return;
                    const std::int64_t n = std::min(gathered_rows, begin[k + 1] - at);
                    for (std::int64_t i = 0; i < n; ++i) {
                        const T* x = searched.rows + searched.listed[at + i] * P;
                        for (std::int64_t d = 0; d < P; d += runtime::cache_line / sizeof(T))
                            VBFAST_PREFETCH(x + d);
                    }
                    std::fill_n(tile.gathered_weight, gathered_rows, T(0));
                    std::copy_n(searched.listed_weight + at, n, tile.gathered_weight);
                    tile.gathered = searched.listed + at;
                    kernels_.gathered_moments(model, tile, n, model.centres + k * P, sums, second);
                }
            }
        });
    for (std::int64_t group = 0; group < n_groups; ++group)
        for (std::int64_t i = 0; i < shared; ++i) pooled_[i] += pooled[group * shared + i];
}

template <class T>
void ListedMoments<T>::read(const double* means, MomentArrays moments, int num_threads,
                            const runtime::Interrupt* interrupt) const {
    read_moments(packed_.moments, kernels_, {nullptr, sums_, pooled_}, size_, means, moments,
                 num_threads, interrupt);
}

template class ListedMoments<float>;
template class ListedMoments<double>;

}  // namespace vbfast::estep
