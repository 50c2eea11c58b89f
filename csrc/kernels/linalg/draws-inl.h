// Rows of standard normals turned into draws of a Gaussian: x = mean + z P^-1, by substitution in
// x P = z with the upper triangular precision factor P, so that x has the precision P P^T.
//
// Layout: rows and the factor are row-major with D numbers a row, without padding. Rows are the
// columns of a block, see column_blocks-inl.h: a tile of features is solved for all rows of the
// block at once, and the factor is read along its rows, once a block.
//
// Error: substitution is backward stable (Higham 2002, theorem 8.5).

// acc -= matrix[0:n, 0:rows]^T block[0:n].
template <int rows, int vectors>
inline void subtract_transposed_products(const double* matrix, std::int64_t stride,
                                         const double* block, std::int64_t n,
                                         Lanes<double> (&acc)[rows][vectors]) {
    using V = Lanes<double>;
    for (std::int64_t k = 0; k < n; ++k, block += vectors * V::width, matrix += stride) {
        V b[vectors];
        for (int v = 0; v < vectors; ++v) b[v] = V::load(block + v * V::width);
        for (int r = 0; r < rows; ++r) {
            const V a = V::set(matrix[r]);
            for (int v = 0; v < vectors; ++v) acc[r][v] = fnma(a, b[v], acc[r][v]);
        }
    }
}

// block = U^-T block of D rows.
template <int vectors>
inline void solve_transposed(const double* upper, std::int64_t D, double* block) {
    using V = Lanes<double>;
    constexpr int width = vectors * V::width;
    for_tiles(D, [&](std::int64_t i, auto count) {
        constexpr int rows = decltype(count)::value;
        V acc[rows][vectors];
        double* own = block + i * width;
        load_tile(own, acc);
        subtract_transposed_products(upper + i, D, block, i, acc);
        const double* corner = upper + i * D + i;
        for (int r = 0; r < rows; ++r) {
            for (int s = 0; s < r; ++s)
                for (int v = 0; v < vectors; ++v)
                    acc[r][v] = fnma(V::set(corner[s * D + r]), acc[s][v], acc[r][v]);
            const V inverse = V::set(1 / corner[r * D + r]);
            for (int v = 0; v < vectors; ++v) acc[r][v] = acc[r][v] * inverse;
        }
        store_tile(acc, own);
    });
}

// Replaces n_rows rows, no more than block_columns, by draws.
inline void draw_block(const double* factor, const double* mean, std::int64_t D,
                       std::int64_t n_rows, double* rows, double* block) {
    with_vectors(n_rows, [&](auto count) {
        constexpr int vectors = decltype(count)::value, width = vectors * Lanes<double>::width;
        for (std::int64_t c = 0; c < width; ++c)
            for (std::int64_t i = 0; i < D; ++i)
                block[i * width + c] = c < n_rows ? rows[c * D + i] : 0.0;
        solve_transposed<vectors>(factor, D, block);
        for (std::int64_t i = 0; i < D; ++i)
            for (std::int64_t c = 0; c < width; ++c) block[i * width + c] += mean[i];
        store_transposed<vectors>(block, D, n_rows, rows, D);
    });
}
