#include "estep/nearest_search.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "runtime/memory.h"
#include "runtime/numbers.h"
#include "tuning.h"

namespace vbfast::estep {

namespace {

// Stores the labels of a tile at `rows` of a range, which have no bounds then.
template <class T>
void take_labels(const Tile<T>& tile, const std::int32_t* rows, RowRange<T>& range) {
    for (std::int64_t i = 0; i < tile.n_rows; ++i) {
        range.label[rows[i]] = tile.label[i];
        range.upper[rows[i]] = std::numeric_limits<float>::infinity();
        if (range.log_joint) range.log_joint[rows[i]] = tile.row_max[i];
    }
}

}  // namespace

bool finds_nearest(const MixtureParameters& parameters, const PassRequest& request) {
    if (parameters.form != Form::spherical || request.assignment != Assignment::hard ||
        request.entropy || request.split_components || request.log_evidence || request.resp ||
        request.row_entropy || request.gradient || request.log_joint)
        return false;
    for (std::int64_t k = 0; k < parameters.n_components; ++k)
        if (parameters.offset[k] != 0 || parameters.coefficients[k] != parameters.coefficients[0])
            return false;
    return true;
}

template <class T>
NearestSearch<T>::NearestSearch(const MixtureParameters& parameters, const PassRequest& request,
                                const Kernels<T>& kernels, const PackedModel<T>& packed,
                                NearestBounds& bounds, int num_threads,
                                const runtime::Interrupt* interrupt)
    : request_(request),
      kernels_(kernels),
      packed_(packed),
      bounds_(bounds),
      centres_(parameters.means,
               parameters.means + parameters.n_components * parameters.n_features) {
    const std::int64_t K = parameters.n_components, D = parameters.n_features;
    const std::int64_t row_bytes = D * static_cast<std::int64_t>(sizeof(T));
    const std::int64_t fitting =
        std::min(std::clamp<std::int64_t>(tuning::search_range / row_bytes, 1024, 8192),
                 tuning::interrupt_distances / (K * D));
    rows_at_once_ = std::max<std::int64_t>(1, fitting / request.tile_rows) * request.tile_rows;
    bounds.label.resize(static_cast<std::size_t>(bounds.n_rows()), -1);
    if (bounds.centres.size() != centres_.size()) bounds.labelled = bounds.bounded = false;
    const bool pays =
        K >= tuning::fewest_centres && bounds.n_rows() >= tuning::fewest_rows_a_centre * K &&
        D >= tuning::fewest_features && K * (D + 4) / kernels.lanes >= tuning::fewest_operations;
    by_bounds_ = pays && packed.model.form == Form::spherical &&
                 pack_blocks(parameters, packed, kernels, bounds, blocks_, num_threads, interrupt);
    if (by_bounds_) {
        bounds.upper.resize(bounds.label.size());
        bounds.lower.resize(bounds.label.size() * blocks_.blocks.n_groups);
    }
    bounded_ = by_bounds_ && bounds.bounded;
    labelled_ = bounds.labelled;
    bounds.labelled = bounds.bounded = false;  // until all rows have been visited
}

template <class T>
std::size_t NearestSearch<T>::lay_out(char* memory, RowRange<T>& range, T*& copied) const {
    const std::int64_t D = packed_.model.n_features;
    runtime::Arena arena(memory);
    arena.take(range.open, rows_at_once_);
    arena.take(range.plain, rows_at_once_);
    arena.take(range.flags, rows_at_once_);
    arena.take(range.least, rows_at_once_);
    arena.take(range.listed, blocks_.blocks.n_blocks);
    arena.take(range.batch, tuning::search_batch);
    arena.take(range.row, tuning::search_batch * 2 * D);
    arena.take(copied, request_.tile_rows * D);
    return arena.size();
}

template <class T>
std::size_t NearestSearch<T>::scratch_bytes() const {
    RowRange<T> range;
    T* copied;
    return lay_out(nullptr, range, copied);
}

template <class T>
RowRange<T> NearestSearch<T>::range_of(const RowBlock& block, std::int64_t first,
                                       std::int64_t n) const {
    const std::int64_t row = block.start + first;
    RowRange<T> range{};
    range.rows = static_cast<const char*>(block.rows) + first * block.row_stride;
    range.row_stride = block.row_stride;
    range.feature_stride = block.feature_stride;
    range.n_rows = n;
    range.weights = block.weights ? block.weights + first : nullptr;
    range.label = bounds_.label.data() + row;
    range.bounded = bounded_;
    if (by_bounds_) {
        range.upper = bounds_.upper.data() + row;
        range.lower = bounds_.lower.data() + row;
        range.lower_stride = bounds_.n_rows();
    }
    if (request_.expected_log_joint)
        range.log_joint = static_cast<T*>(request_.expected_log_joint) + row;
    return range;
}

template <class T>
std::int64_t NearestSearch<T>::find_labels(const RowBlock& block, std::int64_t first,
                                           std::int64_t n, Tile<T>& tile, char* memory,
                                           RowRange<T>& range) {
    const std::int64_t D = packed_.model.n_features;
    const std::int64_t row_bytes = D * static_cast<std::int64_t>(sizeof(T));
    T* copied;
    range = range_of(block, first, n);
    lay_out(memory, range, copied);
    tile.out_labels = nullptr;
    if (!by_bounds_) {
        for (std::int64_t m = 0; m < n; m += request_.tile_rows) {
            point_at(tile, block, first + m, std::min(request_.tile_rows, n - m), 1);
            kernels_.nearest_labels(packed_.model, tile);
            if (tile.bad_row >= 0) return first + m + tile.bad_row;
            std::copy(tile.label, tile.label + tile.n_rows, range.label + m);
            if (range.log_joint)
                std::copy(tile.row_max, tile.row_max + tile.n_rows, range.log_joint + m);
        }
        return -1;
    }
    if (!labelled_) std::fill(range.label, range.label + n, -1);
    kernels_.search_step(packed_.model, blocks_.blocks, range);
    for (std::int64_t m = 0; m < range.n_plain; m += request_.tile_rows) {
        const std::int64_t count = std::min(request_.tile_rows, range.n_plain - m);
        for (std::int64_t i = 0; i < count; ++i) {
            const char* row = range.rows + range.plain[m + i] * range.row_stride;
            T* copy = copied + i * D;
            if (range.feature_stride == static_cast<std::int64_t>(sizeof(T)))
                std::memcpy(copy, row, static_cast<std::size_t>(row_bytes));
            else
                for (std::int64_t d = 0; d < D; ++d)
                    std::memcpy(copy + d, row + d * range.feature_stride, sizeof(T));
        }
        tile.rows = reinterpret_cast<const char*>(copied);
        tile.row_stride = row_bytes;
        tile.feature_stride = static_cast<std::int64_t>(sizeof(T));
        tile.n_rows = count;
        tile.weights = nullptr;
        kernels_.nearest_labels(packed_.model, tile);
        if (tile.bad_row >= 0) return first + range.plain[m + tile.bad_row];
        take_labels(tile, range.plain + m, range);
    }
    n_met_ += range.n_met + range.n_plain * blocks_.blocks.n_blocks;
    return -1;
}

template <class T>
void NearestSearch<T>::count(std::int64_t n_rows) {
    n_visited_ += n_rows;
    if (n_visited_ < bounds_.n_rows()) return;
    bounds_.centres = centres_;  // first, as it may throw
    bounds_.labelled = true;
    bounds_.bounded = by_bounds_;
    if (!by_bounds_) return;
    const double all = static_cast<double>(n_visited_) *
                       static_cast<double>(std::max<std::int64_t>(1, blocks_.blocks.n_blocks));
    bounds_.met = static_cast<double>(n_met_.load()) / all;
}

template class NearestSearch<float>;
template class NearestSearch<double>;

}  // namespace vbfast::estep
