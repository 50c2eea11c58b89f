#include "linalg/ordered_sum.h"

#include <algorithm>

namespace vbfast::linalg {

double sum_as_numpy(const double* values, std::int64_t n) {
    if (n < 8) {
        double sum = 0.0;
        for (std::int64_t i = 0; i < n; ++i) sum += values[i];
        return sum;
    }
    if (n > 128) {
        const std::int64_t half = n / 2 - n / 2 % 8;
        return sum_as_numpy(values, half) + sum_as_numpy(values + half, n - half);
    }
    double r[8];
    std::copy_n(values, 8, r);
    std::int64_t i = 8;
    for (; i < n - n % 8; i += 8)
        for (int j = 0; j < 8; ++j) r[j] += values[i + j];
    double sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    for (; i < n; ++i) sum += values[i];
    return sum;
}

}  // namespace vbfast::linalg
