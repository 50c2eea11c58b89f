// How a call is cut up: slices into blocks and, where there are few long ones, slices into ranges
// of elements, at places that follow from the shape alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "arrays/call.h"
#include "arrays/layout.h"
#include "runtime/numbers.h"
#include "tuning.h"

namespace vbfast::arrays {

// Slices first to first + width - 1.
struct SliceBlock {
    std::int64_t first, width;
};

struct Plan {
    // Of a simplified layout of elements of `size` bytes. `fuses`: the mapper reduces and maps a
    // slice in one call; `keeps`: it writes exponentials of columns while it reduces them.
    Plan(const Call& call, const Layout& layout, std::int64_t size, bool fuses, bool keeps);

    const Operand& operand(int place) const { return layout.operands[place]; }
    bool present(int place) const { return operand(place).data != nullptr; }
    Position slice(std::int64_t index) const { return {index, layout.outer, layout.n_outer}; }
    Position element(std::int64_t index) const { return {index, layout.reduced, layout.n_reduced}; }
    double weight_of(const Position& slice) const;

    SliceBlock block(std::int64_t index) const {
        const std::int64_t first = index % blocks_a_run * width;
        return {index / blocks_a_run * run + first, std::min(width, run - first)};
    }
    // Planes of references that are kept of a block, one a chunk of elements.
    std::int64_t kept_chunks() const {
        return kept ? runtime::ceil_div(n_elements, tuning::column_chunk) : 0;
    }
    std::int64_t range_end(std::int64_t index) const {
        return std::min(n_elements, (index + 1) * range);
    }

    const Layout& layout;
    std::int64_t n_slices, n_elements;
    bool columns = false;       // neighbouring slices in lanes, else the elements of one
    bool fused = false;         // reduction and map in one call of the kernel
    bool kept = false;          // exponentials wait in the output for the end of the reduction
    bool non_temporal = false;  // outputs are written by non-temporal stores
    std::int64_t output_bytes;  // of each output
    std::int64_t prefetch_distance = 0;  // of the kernels, see kernels/arrays/table.h
    bool direct[n_sliced] = {};          // kernels read or write the operand where it lies
    std::int64_t width, plane;           // slices of a block, and room for them in planes of states
    std::int64_t run;                    // no block crosses a multiple of that many slices
    std::int64_t blocks_a_run, n_blocks;
    std::int64_t range, n_ranges;  // elements of a range
};

}  // namespace vbfast::arrays
