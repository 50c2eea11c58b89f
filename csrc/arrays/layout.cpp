#include "arrays/layout.h"

#include <cstdlib>
#include <utility>

namespace vbfast::arrays {

namespace {

// One kind of dimensions of all operands that have it.
struct Dimensions {
    std::int64_t* shape;
    int* n;
    Operand* operands;
    int n_operands;
    std::int64_t (Operand::*strides)[max_dimensions];

    std::int64_t& stride(int operand, int d) { return (operands[operand].*strides)[d]; }
    bool present(int operand) const {
        return operands[operand].data != nullptr || operand == place_number;
    }
    void move(int from, int to) {
        shape[to] = shape[from];
        for (int i = 0; i < n_operands; ++i)
            if (present(i)) stride(i, to) = stride(i, from);
    }
    void exchange(int a, int b) {
        std::swap(shape[a], shape[b]);
        for (int i = 0; i < n_operands; ++i)
            if (present(i)) std::swap(stride(i, a), stride(i, b));
    }
    void simplify() {
        for (int d = 0; d < *n; ++d)
            if (shape[d] == 0) {  // nothing to step through
                shape[0] = 0;
                *n = 1;
                return;
            }
        int kept = 0;
        for (int d = 0; d < *n; ++d)
            if (shape[d] != 1) move(d, kept++);
        for (int d = 1; d < kept; ++d)
            for (int e = d;
                 e > 0 && std::abs(stride(place_x, e - 1)) < std::abs(stride(place_x, e)); --e)
                exchange(e - 1, e);
        int last = 0;
        for (int d = 1; d < kept; ++d) {
            if (joins_into(last, d)) {
                const std::int64_t length = shape[last] * shape[d];
                move(d, last);
                shape[last] = length;
            } else {
                move(d, ++last);
            }
        }
        *n = kept ? last + 1 : 0;
    }
    bool joins_into(int outer, int inner) {
        for (int i = 0; i < n_operands; ++i)
            if (present(i) && stride(i, outer) != stride(i, inner) * shape[inner]) return false;
        return true;
    }
};

std::int64_t product(const std::int64_t* shape, int n) {
    std::int64_t all = 1;
    for (int d = 0; d < n; ++d) all *= shape[d];
    return all;
}

}  // namespace

void Layout::simplify() {
    Dimensions{outer, &n_outer, operands, n_places, &Operand::outer}.simplify();
    Dimensions{reduced, &n_reduced, operands, n_sliced, &Operand::reduced}.simplify();
}

std::int64_t Layout::n_slices() const {
    return product(outer, n_outer);
}

std::int64_t Layout::n_elements() const {
    return product(reduced, n_reduced);
}

Position::Position(std::int64_t index, const std::int64_t* shape_, int n_dimensions)
    : shape(shape_), n(n_dimensions) {
    for (int d = n - 1; d >= 0; --d) {
        at[d] = index;
        if (index == 0 || d == 0) continue;  // dimensions of length zero have no other index
        at[d] = index % shape[d];
        index /= shape[d];
    }
}

void Position::advance() {
    for (int d = n - 1; d >= 0; --d) {
        if (++at[d] < shape[d] || d == 0) return;
        at[d] = 0;
    }
}

}  // namespace vbfast::arrays
