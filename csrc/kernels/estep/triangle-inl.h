// The lower triangle of a symmetric (n, n) matrix, row-major in block rows of eight: each block row
// is as wide as its diagonal block reaches, so that register blocks of rows have one stride and
// vectors of columns are whole. The entries right of the diagonal in a diagonal block are there,
// unused.
//
// Read by the kernels and the driver, each of which includes this in a namespace of its own.

constexpr int triangle_rows = 8;

// Where block row b begins; for the number of block rows, where the triangle ends.
constexpr std::int64_t triangle_start(std::int64_t b) {
    return triangle_rows * triangle_rows / 2 * b * (b + 1);
}

// The numbers that it takes.
constexpr std::int64_t triangle_size(std::int64_t n) {
    return triangle_start((n + triangle_rows - 1) / triangle_rows);
}

// Where entry (i, j) lies, j <= i.
constexpr std::int64_t triangle_index(std::int64_t i, std::int64_t j) {
    const std::int64_t b = i / triangle_rows;
    return triangle_start(b) + (i - triangle_rows * b) * triangle_rows * (b + 1) + j;
}
