// Memory of a task of the array functions, and how elements get to the kernels: where they lie, or
// through copies side by side.
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>

#include "array_halves.h"
#include "array_plan.h"

namespace vbfast {

constexpr std::int64_t row_plane = 16;  // of the states of one slice

// Every piece lies in one allocation: a call on few elements is over sooner than several take.
template <class T>
class Scratch {
  public:
    Scratch(const Plan& plan, int n_states) {
        take(plan, n_states, nullptr);
        memory_ = std::make_unique<unsigned char[]>(size_);
        size_ = 0;
        take(plan, n_states, memory_.get());
    }

    double *state, *results;  // (state or Result, plane)
    double* halves;           // other states, see array_halves.h: (halving, state, plane), and of
                              // rows, whose own plane is 16, one more that the others go to
    T* parameters;            // (parameter, plane)
    T* references;            // (chunk, plane), kept with the exponentials of a whole block
    T* values[n_sliced];      // copies: a row, or (row, plane)
    T** pointers[n_sliced];   // to the rows of columns
    double sums[result_count] = {};

    // The task that works in this memory.
    void begin(Region& region, int worker) {
        region_ = &region;
        worker_ = worker;
        std::fill_n(sums, result_count, 0.0);
    }

    // So many more elements are done: from time to time this asks whether the call is to end.
    void done(std::int64_t elements) {
        if ((until_asked_ -= elements) > 0) return;
        until_asked_ = asked_after;
        if (stop_requested(*region_, worker_)) throw Interrupted();
    }

  private:
    static constexpr std::int64_t asked_after = 1 << 18;  // elements, some milliseconds at the most

    void take(const Plan& plan, int n_states, unsigned char* memory) {
        const auto piece = [&](auto*& p, std::int64_t n) {
            using Pointer = std::remove_reference_t<decltype(p)>;
            p = n && memory ? reinterpret_cast<Pointer>(memory + size_) : nullptr;
            size_ += (n * sizeof(*p) + 63) / 64 * 64;
        };
        const std::int64_t rows =
            std::min(plan.columns ? column_chunk : row_chunk, plan.n_elements);
        const int levels = halvings(plan.range, plan.columns ? column_part<T> : row_chunk);
        const std::int64_t others = plan.columns ? levels * plan.plane
                                    : levels > 0 ? (levels + 1) * row_plane
                                                 : 0;
        piece(state, n_states * plan.plane);
        piece(results, result_count * plan.plane);
        piece(halves, others * n_states);
        piece(parameters, plan.present(place_out0) ? max_parameters * plan.plane : 0);
        piece(references, plan.n_ranges == 1 ? plan.kept_chunks() * plan.plane : 0);
        for (int i = 0; i < n_sliced; ++i) {
            const bool copied = plan.present(i) && !plan.direct[i];
            piece(values[i], copied ? rows * (plan.columns ? plan.plane : 1) : 0);
            piece(pointers[i], plan.columns ? rows : 0);
        }
    }

    std::unique_ptr<unsigned char[]> memory_;
    std::size_t size_ = 0;
    Region* region_ = nullptr;
    int worker_ = 0;
    std::int64_t until_asked_ = asked_after;
};

// Elements first to first + n - 1 of the slice at `base`, side by side.
template <class T>
T* fetch_row(const Plan& plan, int place, char* base, std::int64_t first, std::int64_t n,
             T* values) {
    if (plan.direct[place]) return reinterpret_cast<T*>(base) + first;
    Position position = plan.element(first);
    for (std::int64_t i = 0; i < n; ++i, position.advance())
        values[i] =
            *reinterpret_cast<const T*>(base + position.offset(plan.operand(place).reduced));
    return values;
}

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

// Points pointers[place] to the rows of a chunk of columns, where they lie or where their copies
// do.
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

template <class T>
void fetch_columns(const Plan& plan, int place, SliceBlock block, std::int64_t first,
                   std::int64_t n, const Scratch<T>& scratch) {
    if (!plan.direct[place])
        each_of_columns(plan, place, block, first, n, scratch.values[place],
                        [](T& there, T& copy) { copy = there; });
    point_to_rows(plan, place, block, first, n, scratch);
}

template <class T>
void scatter_columns(const Plan& plan, int place, SliceBlock block, std::int64_t first,
                     std::int64_t n, const Scratch<T>& scratch) {
    if (!plan.direct[place])
        each_of_columns(plan, place, block, first, n, scratch.values[place],
                        [](T& there, T& copy) { there = copy; });
}

}  // namespace vbfast
