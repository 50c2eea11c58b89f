// Gradients of Gaussians in the covariance and the precision factor, from second moments. See
// MatrixGradient in table.h for the shapes and column_blocks-inl.h for layout, error and blocking.
//
// From a symmetric S and an upper triangular P it makes
//
//     F = triu(N P^-T - S P),    G = 1/2 P (P^T S P - N I) P^T = 1/2 (Lambda S Lambda - N Lambda).
//
// That takes D^3 multiply-adds, in four products that have zeros or a symmetric result to save at:
//
//     T = -S P                upper triangle, all that F and W need      D^3 / 3
//     W = -P^T T              symmetric, by its upper triangle           D^3 / 6
//     Z = -W' P^T             lower triangle, all that G needs           D^3 / 3
//     G = -P Z                symmetric, by its lower triangle           D^3 / 6
//
// with W' = (W - N I) / 2. The second and the fourth product take the place of the first and the
// third while those are in L1. Vectors f, of which Lambda f is wanted, go along as rows below S and
// W: y = -P^T f is a row of T, and Lambda f = -P y one of Z.
//
// A gradient in the factor under way holds P^T below the diagonal, whose rows the second product
// reads along.

// block = -U^T block of n rows. Below the diagonal `lower` holds U^T.
template <int vectors>
inline void multiply_lower(const double* lower, const double* upper, std::int64_t stride,
                           std::int64_t n, double* block) {
    using V = Lanes<double>;
    for_tiles_backwards(n, [&](std::int64_t i, auto count) {
        constexpr int rows = decltype(count)::value;
        V acc[rows][vectors];
        clear_tile(acc);
        subtract_products(lower + i * stride, stride, block, i, acc);
        double* own = block + i * vectors * V::width;
        const double* square = upper + i * stride + i;
        for (int r = 0; r < rows; ++r)
            for (int s = 0; s <= r; ++s)
                for (int v = 0; v < vectors; ++v)
                    acc[r][v] = fnma(V::set(square[s * stride + r]),
                                     V::load(own + (s * vectors + v) * V::width), acc[r][v]);
        store_tile(acc, own);
    });
}

// block = -U block of n rows.
template <int vectors>
inline void multiply_upper(const double* upper, std::int64_t stride, std::int64_t n,
                           double* block) {
    using V = Lanes<double>;
    for_tiles(n, [&](std::int64_t i, auto count) {
        constexpr int rows = decltype(count)::value;
        V acc[rows][vectors];
        clear_tile(acc);
        const double* matrix = upper + i * stride + i;
        double* own = block + i * vectors * V::width;
        subtract_products(matrix + rows, stride, own + rows * vectors * V::width, n - i - rows,
                          acc);
        for (int r = 0; r < rows; ++r)
            for (int s = r; s < rows; ++s)
                for (int v = 0; v < vectors; ++v)
                    acc[r][v] = fnma(V::set(matrix[r * stride + s]),
                                     V::load(own + (s * vectors + v) * V::width), acc[r][v]);
        store_tile(acc, own);
    });
}

// Columns [first, first + n_columns) of a symmetric (D, D) matrix, n_rows of them from row `start`
// on, and the rows that mirror them. `square` is where the block meets the diagonal: what is above
// it there becomes what is below.
template <int vectors>
inline void store_symmetric(double* block, std::int64_t start, std::int64_t n_rows, double* square,
                            std::int64_t first, std::int64_t n_columns, double* matrix,
                            std::int64_t D) {
    constexpr int width = vectors * Lanes<double>::width;
    for (std::int64_t r = 1; r < n_columns; ++r)
        for (std::int64_t c = 0; c < r; ++c) square[c * width + r] = square[r * width + c];
    copy_rows<vectors>(block, width, n_rows, n_columns, matrix + start * D + first, D);
    store_transposed<vectors>(block, n_rows, n_columns, matrix + first * D + start, D);
}

// Rows [first, first + block_columns) of P^T below the diagonal of the gradient in the factor.
inline void transpose_block(const MatrixGradient& g, std::int64_t first, double* block) {
    const std::int64_t D = g.n_features, n = columns_from(first, D);
    with_vectors(n, [&](auto count) {
        constexpr int vectors = decltype(count)::value, width = vectors * Lanes<double>::width;
        load_block<vectors>(g.factor, D, first, first + n, n, block);
        double* rows = g.in_factor + first * D;
        store_transposed<vectors>(block, first, n, rows, D);
        for (std::int64_t c = 1; c < n; ++c)
            for (std::int64_t k = first; k < first + c; ++k) rows[c * D + k] = block[k * width + c];
    });
}

// Columns [first, first + block_columns) of the gradient in the factor down to the diagonal, and of
// W' and y.
inline void whiten_block(const MatrixGradient& g, std::int64_t first, double* block) {
    const std::int64_t D = g.n_features, n = columns_from(first, D), n_rows = first + n;
    with_vectors(n, [&](auto count) {
        using V = Lanes<double>;
        constexpr int vectors = decltype(count)::value, width = vectors * V::width;
        load_block<vectors>(g.factor, D, first, n_rows, n, block);
        for (std::int64_t r = 1; r < n; ++r)
            for (std::int64_t c = 0; c < r; ++c) block[(first + r) * width + c] = 0;
        double* product = block + D * width;
        for (std::int64_t v = 0; v < g.n_vectors; v += D) {
            const std::int64_t some = g.n_vectors - v < D ? g.n_vectors - v : D;
            multiply<vectors>(g.vectors + v * D, D, some, block, n_rows, product);
            copy_rows<vectors>(product, width, some, n, g.whitened + (D + v) * D + first, D);
        }
        multiply<vectors>(g.second, D, n_rows, block, n_rows, product);
        copy_rows<vectors>(product, width, first, n, g.in_factor + first, D);
        double* square = product + first * width;
        for (std::int64_t r = 0; r < n; ++r) {
            double* row = g.in_factor + (first + r) * D + first;
            row[r] = square[r * width + r] + g.count / block[(first + r) * width + r];
            for (std::int64_t c = r + 1; c < n; ++c) row[c] = square[r * width + c];
        }
        multiply_lower<vectors>(g.in_factor, g.factor, D, n_rows, product);
        for (std::int64_t r = 0; r < n; ++r) square[r * width + r] -= g.count;
        for (std::int64_t i = 0; i < n_rows * width; i += V::width)
            (V::load(product + i) * V::set(0.5)).store(product + i);
        store_symmetric<vectors>(product, 0, n_rows, square, first, n, g.whitened, D);
    });
}

// Columns [first, first + block_columns) of the gradient in the covariance, of its mirrored rows,
// and of Lambda f; zeros below the diagonal of the gradient in the factor.
inline void unwhiten_block(const MatrixGradient& g, std::int64_t first, double* block) {
    const std::int64_t D = g.n_features, n = columns_from(first, D), n_rows = D - first;
    with_vectors(n, [&](auto count) {
        constexpr int vectors = decltype(count)::value, width = vectors * Lanes<double>::width;
        double* lower = g.in_factor + first * D + first;
        const double* upper = g.factor + first * D + first;
        load_block<vectors>(lower, D, 0, n_rows, n, block);
        double* product = block + D * width;
        for (std::int64_t r = 0; r < n; ++r) {
            for (std::int64_t c = 0; c < r; ++c) lower[r * D + c] = 0;
            block[r * width + r] = upper[r * D + r];
            for (std::int64_t c = r + 1; c < n; ++c) block[r * width + c] = 0;
        }
        for (std::int64_t i = 0; i < n_rows * width; ++i) product[i] = 0;
        copy_rows<vectors>(product, width, n_rows - n, n, lower + n * D, D);
        for (std::int64_t v = 0; v < g.n_vectors; v += D) {
            const std::int64_t some = g.n_vectors - v < D ? g.n_vectors - v : D;
            multiply<vectors>(g.whitened + (D + v) * D + first, D, some, block, n_rows, product);
            copy_rows<vectors>(product, width, some, n, g.in_means + v * D + first, D);
        }
        multiply<vectors>(g.whitened + first * D + first, D, n_rows, block, n_rows, product);
        multiply_upper<vectors>(upper, D, n_rows, product);
        store_symmetric<vectors>(product, first, n_rows, product, first, n, g.in_covariance, D);
    });
}
