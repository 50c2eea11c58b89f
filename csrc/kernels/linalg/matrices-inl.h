// Linear algebra of one matrix in float64: Cholesky factors, triangular systems by blocks of
// columns, and symmetric products of vectors. See column_blocks-inl.h for layout and blocking, and
// Kernels in table.h for the calls.
//
// A factor under way holds, of A = L L^T, L below the diagonal, the reciprocals of L's diagonal on
// it, and, once it is inverted, L^-T above, whose diagonal is the same.
//
// Error: substitution is backward stable, as LAPACK's (Higham 2002, theorem 8.5), and so is the
// factor (theorem 10.3). A pivot that is not positive and finite ends it.
//
// Blocks of an inverse or a ratio depend on nothing but the arguments, whoever computes them; those
// of a factor need the blocks before.

// Rows i to i + rows of L^-1 block, the rows before being done.
template <int rows, int vectors>
inline void solve_lower_tile(const double* lower, std::int64_t stride, std::int64_t i,
                             double* block) {
    using V = Lanes<double>;
    V acc[rows][vectors];
    double* own = block + i * vectors * V::width;
    load_tile(own, acc);
    const double* matrix = lower + i * stride;
    subtract_products(matrix, stride, block, i, acc);
    for (int r = 0; r < rows; ++r) {
        for (int s = 0; s < r; ++s)
            for (int v = 0; v < vectors; ++v)
                acc[r][v] = fnma(V::set(matrix[r * stride + i + s]), acc[s][v], acc[r][v]);
        for (int v = 0; v < vectors; ++v)
            acc[r][v] = acc[r][v] * V::set(matrix[r * stride + i + r]);
    }
    store_tile(acc, own);
}

// block = L^-1 block of n rows; the diagonal of `lower` holds reciprocals.
template <int vectors>
inline void solve_lower(const double* lower, std::int64_t stride, std::int64_t n, double* block) {
    constexpr int R = Blocking::outer_rows;
    std::int64_t i = 0;
    for (; i + R <= n; i += R) solve_lower_tile<R, vectors>(lower, stride, i, block);
    for (; i < n; ++i) solve_lower_tile<1, vectors>(lower, stride, i, block);
}

// Rows i to i + rows of U^-1 block of n rows, the rows after being done.
template <int rows, int vectors>
inline void solve_upper_tile(const double* upper, std::int64_t stride, std::int64_t n,
                             std::int64_t i, double* block) {
    using V = Lanes<double>;
    V acc[rows][vectors];
    double* own = block + i * vectors * V::width;
    load_tile(own, acc);
    const double* matrix = upper + i * stride + i;
    subtract_products(matrix + rows, stride, own + rows * vectors * V::width, n - i - rows, acc);
    for (int r = rows; r-- > 0;) {
        for (int s = r + 1; s < rows; ++s)
            for (int v = 0; v < vectors; ++v)
                acc[r][v] = fnma(V::set(matrix[r * stride + s]), acc[s][v], acc[r][v]);
        const V inverse = V::set(1 / matrix[r * stride + r]);
        for (int v = 0; v < vectors; ++v) acc[r][v] = acc[r][v] * inverse;
    }
    store_tile(acc, own);
}

// block = U^-1 block of n rows.
template <int vectors>
inline void solve_upper(const double* upper, std::int64_t stride, std::int64_t n, double* block) {
    constexpr int R = Blocking::outer_rows;
    const std::int64_t whole = n / R * R;
    for (std::int64_t i = n; i-- > whole;) solve_upper_tile<1, vectors>(upper, stride, n, i, block);
    for (std::int64_t i = whole; i > 0; i -= R)
        solve_upper_tile<R, vectors>(upper, stride, n, i - R, block);
}

// The diagonal block of the factor, from what is left of the matrix there: n rows from `block` on.
// False if a pivot is not positive and finite.
template <int vectors>
inline bool factor_diagonal(std::int64_t n, std::int64_t stride, double* block, double* factor) {
    using V = Lanes<double>;
    constexpr int W = V::width, width = vectors * W;
    for (std::int64_t r = 0; r < n; ++r) {
        double* row = block + r * width;
        if (!(row[r] > 0) || !(row[r] < runtime::infinity)) return false;
        const double inverse = 1 / ::sqrt(row[r]);
        factor[r * stride + r] = inverse;
        const std::int64_t from = r / W * W;  // columns before are done
        for (std::int64_t c = from; c < width; c += W)
            (V::load(row + c) * V::set(inverse)).store(row + c);
        for (std::int64_t s = r + 1; s < n; ++s) {
            double* other = block + s * width;
            const V a = V::set(row[s]);
            for (std::int64_t c = from; c < width; c += W)
                fnma(a, V::load(row + c), V::load(other + c)).store(other + c);
            factor[s * stride + r] = row[s];
        }
    }
    return true;
}

// Rows [first, first + block_columns) of L: up to the diagonal block the transposed solution of
// L X = A in those columns. Reads the upper triangle of the matrix.
inline bool factor_block(const double* matrix, std::int64_t D, std::int64_t first, double* factor,
                         double* block) {
    bool positive = false;
    const std::int64_t n = columns_from(first, D);
    with_vectors(n, [&](auto count) {
        constexpr int vectors = decltype(count)::value, R = Blocking::outer_rows;
        constexpr int width = vectors * Lanes<double>::width;
        load_block<vectors>(matrix, D, first, first + n, n, block);
        solve_lower<vectors>(factor, D, first, block);
        double* rows = factor + first * D;
        store_transposed<vectors>(block, first, n, rows, D);
        double* diagonal = block + first * width;
        std::int64_t i = 0;
        for (; i + R <= n; i += R)
            update_tile<R, vectors>(rows + i * D, D, block, first, diagonal + i * width);
        for (; i < n; ++i)
            update_tile<1, vectors>(rows + i * D, D, block, first, diagonal + i * width);
        positive = factor_diagonal<vectors>(n, D, diagonal, rows + first);
    });
    return positive;
}

// Rows [first, first + block_columns) of L^-T, above the diagonal.
inline void invert_block(std::int64_t D, std::int64_t first, double* factor, double* block) {
    const std::int64_t n = columns_from(first, D), n_rows = D - first;
    with_vectors(n, [&](auto count) {
        constexpr int vectors = decltype(count)::value, width = vectors * Lanes<double>::width;
        for (std::int64_t i = 0; i < n_rows * width; ++i) block[i] = 0;
        for (std::int64_t c = 0; c < n; ++c) block[c * width + c] = 1;
        double* corner = factor + first * D + first;
        solve_lower<vectors>(corner, D, n_rows, block);
        // Other threads may be reading L, which reaches into the square at the corner.
        for (std::int64_t c = 0; c < n; ++c)
            for (std::int64_t k = c + 1; k < n; ++k) corner[c * D + k] = block[k * width + c];
        store_transposed<vectors>(block + n * width, n_rows - n, n, corner + n, D);
    });
}

// The sum of squares of columns [first, first + block_columns) of B^-1 A of upper triangular A, B.
inline double ratio_block(const double* a, const double* b, std::int64_t D, std::int64_t first,
                          double* block) {
    using V = Lanes<double>;
    double sum = 0;
    const std::int64_t n = columns_from(first, D);
    with_vectors(n, [&](auto count) {
        constexpr int vectors = decltype(count)::value, W = V::width, width = vectors * W;
        load_block<vectors>(a, D, first, first + n, n, block);
        for (std::int64_t r = 1; r < n; ++r)
            for (std::int64_t c = 0; c < r; ++c) block[(first + r) * width + c] = 0;
        solve_upper<vectors>(b, D, first + n, block);
        V acc[vectors];
        for (V& squares : acc) squares = V::zero();
        for (std::int64_t i = 0; i < first + n; ++i)
            for (int v = 0; v < vectors; ++v) {
                const V x = V::load(block + i * width + v * W);
                acc[v] = fma(x, x, acc[v]);
            }
        for (V squares : acc) {
            double lanes[W];
            squares.store(lanes);
            for (double lane : lanes) sum += lane;
        }
    });
    return sum;
}

// Columns [first, first + block_columns) of U U^T of an upper triangular U down to the diagonal,
// and the rows that mirror them.
inline void square_block(const double* factor, std::int64_t D, std::int64_t first, double* out,
                         double* block) {
    const std::int64_t n = columns_from(first, D), n_rows = D - first;
    with_vectors(n, [&](auto count) {
        using V = Lanes<double>;
        constexpr int vectors = decltype(count)::value, width = vectors * V::width;
        load_transposed<vectors>(factor + first * D + first, D, n_rows, n, block);
        for (std::int64_t i = 0; i < n_rows * width; i += V::width)
            (V::zero() - V::load(block + i)).store(block + i);
        double* product = block + D * width;
        for_tiles(first + n, [&](std::int64_t i, auto rows) {
            const std::int64_t zeros = i > first ? i - first : 0;  // left of the diagonal
            Lanes<double> acc[decltype(rows)::value][vectors];
            clear_tile(acc);
            subtract_products(factor + i * D + first + zeros, D, block + zeros * width,
                              n_rows - zeros, acc);
            store_tile(acc, product + i * width);
        });
        copy_rows<vectors>(product, width, first + n, n, out + first, D);
        store_transposed<vectors>(product, first, n, out + first * D, D);
    });
}

// out = matrix - (a b^T + b a^T). Without fma, in which a symmetric matrix would not stay one.
inline void subtract_symmetric(const double* matrix, const double* a, const double* b,
                               std::int64_t D, double* out) {
    using V = Lanes<double>;
    for (std::int64_t i = 0; i < D; ++i, matrix += D, out += D) {
        const V ai = V::set(a[i]), bi = V::set(b[i]);
        std::int64_t j = 0;
        for (; j + V::width <= D; j += V::width)
            (V::load(matrix + j) - (ai * V::load(b + j) + bi * V::load(a + j))).store(out + j);
        for (; j < D; ++j) out[j] = matrix[j] - (a[i] * b[j] + b[i] * a[j]);
    }
}

// out = kept (matrix - (a b^T + b a^T)) + taken other. Without fma likewise.
inline void average_moved(const double* matrix, const double* a, const double* b, double kept,
                          const double* other, double taken, std::int64_t D, double* out) {
    using V = Lanes<double>;
    const V keep = V::set(kept), take = V::set(taken);
    for (std::int64_t i = 0; i < D; ++i, matrix += D, other += D, out += D) {
        const V ai = V::set(a[i]), bi = V::set(b[i]);
        std::int64_t j = 0;
        for (; j + V::width <= D; j += V::width) {
            const V moved = V::load(matrix + j) - (ai * V::load(b + j) + bi * V::load(a + j));
            (keep * moved + take * V::load(other + j)).store(out + j);
        }
        for (; j < D; ++j)
            out[j] = kept * (matrix[j] - (a[i] * b[j] + b[i] * a[j])) + taken * other[j];
    }
}
