// Blocks of columns of one float64 matrix, which the linear algebra works on one at a time.
//
// Matrices are (D, D), row-major, without padding, at any float64 address. A block is
// `matrix_columns` columns from column `first` on, copied to (rows, vectors) of contiguous memory,
// zero-padded. The last block takes as few vectors as hold its columns.
//
// Error: a product of D terms is a chain of D multiply-adds, off by at most D epsilon times the
// sum of the terms' sizes.
//
// Blocking: a block stays in L1 up to some 300 features while substitution or a product goes over
// its rows. A tile of outer_rows rows accumulates its products with the other rows in registers;
// the other matrix is read along its rows, once a block.

constexpr int matrix_columns = Blocking::outer_vectors * Lanes<double>::width;

// The columns of the block at `first`.
inline std::int64_t columns_from(std::int64_t first, std::int64_t D) {
    return D - first < matrix_columns ? D - first : matrix_columns;
}

// Calls f(Count<vectors>()) for the vectors that hold n_columns columns.
template <class F>
inline void with_vectors(std::int64_t n_columns, F&& f) {
    with_count<1, Blocking::outer_vectors, Lanes<double>::width>(n_columns, f);
}

// acc -= matrix[0:rows, 0:n] block[0:n].
template <int rows, int vectors>
inline void subtract_products(const double* matrix, std::int64_t stride, const double* block,
                              std::int64_t n, Lanes<double> (&acc)[rows][vectors]) {
    using V = Lanes<double>;
    for (std::int64_t k = 0; k < n; ++k, block += vectors * V::width) {
        V b[vectors];
        for (int v = 0; v < vectors; ++v) b[v] = V::load(block + v * V::width);
        for (int r = 0; r < rows; ++r) {
            const V a = V::set(matrix[r * stride + k]);
            for (int v = 0; v < vectors; ++v) acc[r][v] = fnma(a, b[v], acc[r][v]);
        }
    }
}

template <int rows, int vectors>
inline void load_tile(const double* block, Lanes<double> (&acc)[rows][vectors]) {
    using V = Lanes<double>;
    for (int r = 0; r < rows; ++r)
        for (int v = 0; v < vectors; ++v) acc[r][v] = V::load(block + (r * vectors + v) * V::width);
}

template <int rows, int vectors>
inline void store_tile(const Lanes<double> (&acc)[rows][vectors], double* block) {
    using V = Lanes<double>;
    for (int r = 0; r < rows; ++r)
        for (int v = 0; v < vectors; ++v) acc[r][v].store(block + (r * vectors + v) * V::width);
}

// own -= matrix[0:rows, 0:n] block[0:n], rows of a block.
template <int rows, int vectors>
inline void update_tile(const double* matrix, std::int64_t stride, const double* block,
                        std::int64_t n, double* own) {
    Lanes<double> acc[rows][vectors];
    load_tile(own, acc);
    subtract_products(matrix, stride, block, n, acc);
    store_tile(acc, own);
}

// The first n_columns columns of n_rows rows, where `vectors` hold them.
template <int vectors>
inline void copy_rows(const double* in, std::int64_t in_stride, std::int64_t n_rows,
                      std::int64_t n_columns, double* out, std::int64_t out_stride) {
    using V = Lanes<double>;
    if (n_columns == vectors * V::width) {
        for (std::int64_t i = 0; i < n_rows; ++i, in += in_stride, out += out_stride)
            for (int v = 0; v < vectors; ++v) V::load(in + v * V::width).store(out + v * V::width);
        return;
    }
    for (std::int64_t i = 0; i < n_rows; ++i, in += in_stride, out += out_stride)
        for (std::int64_t c = 0; c < n_columns; ++c) out[c] = in[c];
}

// Columns [first, first + n_columns) of the first n_rows rows of a matrix, zero-padded.
template <int vectors>
inline void load_block(const double* matrix, std::int64_t D, std::int64_t first,
                       std::int64_t n_rows, std::int64_t n_columns, double* block) {
    constexpr int width = vectors * Lanes<double>::width;
    copy_rows<vectors>(matrix + first, D, n_rows, n_columns, block, width);
    for (std::int64_t c = n_columns; c < width; ++c)
        for (std::int64_t i = 0; i < n_rows; ++i) block[i * width + c] = 0;
}

// block[k, c] = matrix[c, k] for n_rows rows and n_columns columns, zero-padded.
template <int vectors>
inline void load_transposed(const double* matrix, std::int64_t D, std::int64_t n_rows,
                            std::int64_t n_columns, double* block) {
    using V = Lanes<double>;
    constexpr int width = vectors * V::width;
    for (std::int64_t c = 0; c < width; c += V::width) {
        std::int64_t k = 0;
        if (c + V::width <= n_columns)
            for (; k + V::width <= n_rows; k += V::width)
                V::transpose(matrix + c * D + k, D, block + k * width + c, width);
        for (; k < n_rows; ++k)
            for (std::int64_t j = c; j < c + V::width; ++j)
                block[k * width + j] = j < n_columns ? matrix[j * D + k] : 0;
    }
}

// out[c, k] = block[k, c] for n_rows rows and n_columns columns.
template <int vectors>
inline void store_transposed(const double* block, std::int64_t n_rows, std::int64_t n_columns,
                             double* out, std::int64_t stride) {
    using V = Lanes<double>;
    constexpr int width = vectors * V::width;
    for (std::int64_t c = 0; c < n_columns; c += V::width) {
        const std::int64_t columns = n_columns - c < V::width ? n_columns - c : V::width;
        std::int64_t k = 0;
        if (columns == V::width)
            for (; k + V::width <= n_rows; k += V::width)
                V::transpose(block + k * width + c, width, out + c * stride + k, stride);
        for (; k < n_rows; ++k)
            for (std::int64_t j = 0; j < columns; ++j)
                out[(c + j) * stride + k] = block[k * width + c + j];
    }
}

// Calls f(i, Count<rows>) for tiles of outer_rows rows and then single rows, n rows in all, from
// the first.
template <class F>
inline void for_tiles(std::int64_t n, F&& f) {
    constexpr int R = Blocking::outer_rows;
    std::int64_t i = 0;
    for (; i + R <= n; i += R) f(i, Count<R>{});
    for (; i < n; ++i) f(i, Count<1>{});
}

// The same tiles, from the last.
template <class F>
inline void for_tiles_backwards(std::int64_t n, F&& f) {
    constexpr int R = Blocking::outer_rows;
    const std::int64_t whole = n / R * R;
    for (std::int64_t i = n; i-- > whole;) f(i, Count<1>{});
    for (std::int64_t i = whole; i > 0; i -= R) f(i - R, Count<R>{});
}

template <int rows, int vectors>
inline void clear_tile(Lanes<double> (&acc)[rows][vectors]) {
    for (auto& row : acc)
        for (Lanes<double>& sums : row) sums = Lanes<double>::zero();
}

// out = -matrix[0:n_rows, 0:n] block[0:n].
template <int vectors>
inline void multiply(const double* matrix, std::int64_t stride, std::int64_t n_rows,
                     const double* block, std::int64_t n, double* out) {
    for_tiles(n_rows, [&](std::int64_t i, auto count) {
        Lanes<double> acc[decltype(count)::value][vectors];
        clear_tile(acc);
        subtract_products(matrix + i * stride, stride, block, n, acc);
        store_tile(acc, out + i * vectors * Lanes<double>::width);
    });
}
