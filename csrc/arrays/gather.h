// How elements get to the kernels and back: where they lie, or through copies side by side.
#pragma once

#include <cstdint>

#include "arrays/plan.h"
#include "arrays/scratch.h"

namespace vbfast::arrays {

// Elements `first` to first + n - 1 of the slice at `base`, side by side: where they lie, or copied
// to `values`.
template <class T>
T* gather_row(const Plan& plan, int place, char* base, std::int64_t first, std::int64_t n,
              T* values) {
    if (plan.direct[place]) return reinterpret_cast<T*>(base) + first;
    Position position = plan.element(first);
    for (std::int64_t i = 0; i < n; ++i, position.advance())
        values[i] =
            *reinterpret_cast<const T*>(base + position.offset(plan.operand(place).reduced));
    return values;
}

// Puts them back from `values`, unless that is where they lie.
template <class T>
void scatter_row(const Plan& plan, int place, char* base, std::int64_t first, std::int64_t n,
                 const T* values) {
    if (plan.direct[place]) return;
    Position position = plan.element(first);
    for (std::int64_t i = 0; i < n; ++i, position.advance())
        *reinterpret_cast<T*>(base + position.offset(plan.operand(place).reduced)) = values[i];
}

// Calls move(element where it lies, its copy) for a chunk of neighbouring slices.
template <class T, class Move>
void each_of_columns(const Plan& plan, int place, SliceBlock block, std::int64_t first,
                     std::int64_t n, T* values, Move move) {
    const Operand& a = plan.operand(place);
    Position across = plan.slice(block.first);
    for (std::int64_t c = 0; c < block.width; ++c, across.advance()) {
        char* base = a.data + across.offset(a.outer);
        Position along = plan.element(first);
        for (std::int64_t r = 0; r < n; ++r, along.advance())
            move(*reinterpret_cast<T*>(base + along.offset(a.reduced)), values[r * plan.plane + c]);
    }
}

// Points pointers[place] to the rows of a chunk of columns: where they lie, or to their copies.
template <class T>
void point_to_rows(const Plan& plan, int place, SliceBlock block, std::int64_t first,
                   std::int64_t n, const Scratch<T>& scratch) {
    T** pointers = scratch.pointers[place];
    if (!plan.direct[place]) {
        for (std::int64_t r = 0; r < n; ++r) pointers[r] = scratch.values[place] + r * plan.plane;
        return;
    }
    const Operand& a = plan.operand(place);
    char* base = a.data + plan.slice(block.first).offset(a.outer);
    Position along = plan.element(first);
    for (std::int64_t r = 0; r < n; ++r, along.advance())
        pointers[r] = reinterpret_cast<T*>(base + along.offset(a.reduced));
}

// The same, after copying those that are not direct.
template <class T>
void gather_columns(const Plan& plan, int place, SliceBlock block, std::int64_t first,
                    std::int64_t n, const Scratch<T>& scratch) {
    if (!plan.direct[place])
        each_of_columns(plan, place, block, first, n, scratch.values[place],
                        [](T& there, T& copy) { copy = there; });
    point_to_rows(plan, place, block, first, n, scratch);
}

// Puts the copies back.
template <class T>
void scatter_columns(const Plan& plan, int place, SliceBlock block, std::int64_t first,
                     std::int64_t n, const Scratch<T>& scratch) {
    if (!plan.direct[place])
        each_of_columns(plan, place, block, first, n, scratch.values[place],
                        [](T& there, T& copy) { there = copy; });
}

}  // namespace vbfast::arrays
