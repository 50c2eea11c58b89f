// Where the elements of strided operands lie: slices (over the outer dimensions) of elements that
// are reduced together (over the reduced dimensions).
#pragma once

#include <cstdint>

namespace vbfast::arrays {

constexpr int max_dimensions = 64;  // NumPy's limit

// Strides are in bytes. Without data, an operand is absent.
struct Operand {
    char* data = nullptr;
    std::int64_t outer[max_dimensions];
    std::int64_t reduced[max_dimensions];
};

// The place of an operand in a layout. Weights, results and the slice's number have no reduced
// dimensions; the number's `data` is null plus the number itself, one byte a slice.
enum Place : int {
    place_x,
    place_y,
    place_out0,
    place_out1,
    n_sliced,  // operands of full shape
    place_weight = n_sliced,
    place_number,
    place_result,
    n_places = place_result + 5
};

struct Layout {
    int n_outer = 0;
    int n_reduced = 0;
    std::int64_t outer[max_dimensions];
    std::int64_t reduced[max_dimensions];
    Operand operands[n_places];

    // Drops dimensions of length one, puts the smallest strides of x last and joins neighbours that
    // every operand can step through as one. The order of slices is lost but for their number.
    void simplify();

    std::int64_t n_slices() const;
    std::int64_t n_elements() const;
};

// An index of several dimensions, counted up with the last one fastest. Any shape has the first
// one.
struct Position {
    Position(std::int64_t index, const std::int64_t* shape, int n_dimensions);
    void advance();
    std::int64_t offset(const std::int64_t* strides) const {
        std::int64_t sum = 0;
        for (int d = 0; d < n; ++d) sum += at[d] * strides[d];
        return sum;
    }

    const std::int64_t* shape;
    int n;
    std::int64_t at[max_dimensions];
};

}  // namespace vbfast::arrays
