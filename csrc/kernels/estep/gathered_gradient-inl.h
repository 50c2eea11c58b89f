// Gradient of the log evidence in the rows, sum_k q_nk Lambda_k (mu_k - x_n), one component at a
// time from the rows that it gathers, lanes across features. For full precisions of many features,
// whose posteriors are sparse.
//
// In: tile.joint with tile.inverse_sum, the rows (row-major, or whitened where the tile keeps
// them), and model.gathered_matrices: for each component a (n_features, n_features) matrix A in
// blocks of outer_vectors vectors of columns. The last block holds the vectors that remain; columns
// beyond the last feature are zero. Of the precision a block has all rows; of P_k^T, which is lower
// triangular, those from its first column on. Precisions are divided by model.gradient_scale. Out:
// tile.gradient, (capacity, padded_features), and from there tile.out_gradient.
//
// Where the log-joint kept the whitened rows y = P_k^T (x - mu_k), u = -q y meets the factor: D^2 /
// 2 multiplications for each component of a row, as many as the log-joint took. Otherwise u = q
// (mu_k - x) meets the precision: D^2.
//
// Error: about n_features epsilon sum_k q_nk |Lambda_k| |mu_k - x_n|, and what rows of negligible
// share would add.
//
// Blocking: rows u are packed into the panel. outer_rows of them times outer_vectors vectors of
// columns accumulate in registers, and all rows meet a block of columns, which stays in L1, before
// the next one is fetched.

// Responsibilities up to epsilon / 2e5 change no digit of a row's gradient, unless its terms
// Lambda_k (mu_k - x) differ by as many orders of magnitude: it is off by at most the sum of
// negligible_share |Lambda_k (mu_k - x)|.
template <class T>
constexpr T negligible_share = sizeof(T) == 8 ? T(1e-21) : T(6e-13);

// out[gathered[m]] += u_m A for a block of n_rows rows and n_vectors vectors of columns of A.
template <class T, int n_rows, int n_vectors>
inline void product_block(const T* u, std::int64_t stride, std::int64_t depth, const T* columns,
                          const std::int32_t* gathered, T* out) {
    using V = Lanes<T>;
    constexpr int W = V::width;
    V acc[n_rows][n_vectors];
    for (int r = 0; r < n_rows; ++r)
        for (int b = 0; b < n_vectors; ++b) acc[r][b] = V::zero();
    for (std::int64_t j = 0; j < depth; ++j, columns += n_vectors * W) {
        V right[n_vectors];
        for (int b = 0; b < n_vectors; ++b) right[b] = V::load(columns + b * W);
        for (int r = 0; r < n_rows; ++r) {
            const V left = V::set(u[r * stride + j]);
            for (int b = 0; b < n_vectors; ++b) acc[r][b] = fma(left, right[b], acc[r][b]);
        }
    }
    for (int r = 0; r < n_rows; ++r) {
        T* target = out + gathered[r] * stride;
        for (int b = 0; b < n_vectors; ++b)
            (V::load(target + b * W) + acc[r][b]).store(target + b * W);
    }
}

// All rows against one block of columns.
template <class T, int n_vectors>
void product_columns(const T* u, std::int64_t stride, std::int64_t depth, const T* columns,
                     const std::int32_t* gathered, std::int64_t n_rows, T* out) {
    constexpr int R = Blocking::outer_rows;
    std::int64_t m = 0;
    for (; m + R <= n_rows; m += R)
        product_block<T, R, n_vectors>(u + m * stride, stride, depth, columns, gathered + m, out);
    if (m < n_rows)
        with_count<1, R - 1>(n_rows - m, [&](auto rows) VBFAST_INLINED {
            product_block<T, rows.value, n_vectors>(u + m * stride, stride, depth, columns,
                                                    gathered + m, out);
        });
}

// out[gathered[m]] += u_m A for n_rows rows. Rows and their output have the same stride, and are as
// long as the matrix is wide.
template <class T>
void add_products(const T* u, std::int64_t stride, std::int64_t n_features, const T* matrix,
                  bool triangular, const std::int32_t* gathered, std::int64_t n_rows, T* out) {
    constexpr int W = Lanes<T>::width, N = Blocking::outer_vectors;
    for (std::int64_t c = 0; c < n_features; c += N * W) {
        const std::int64_t first = triangular ? c : 0, depth = n_features - first;
        const std::int64_t n_vectors = (n_features - c + W - 1) / W;
        with_count<1, N>(n_vectors, [&](auto vectors) VBFAST_INLINED {
            product_columns<T, vectors.value>(u + first, stride, depth, matrix, gathered, n_rows,
                                              out + c);
        });
        matrix += N * W * depth;
    }
}

// Gathers the rows of component k that count, with their responsibilities.
template <class T>
std::int64_t gather_shares(const Model<T>& model, Tile<T>& tile, std::int64_t k) {
    return gather_above(tile, model.joint_stride, k, negligible_share<T>, tile.inverse_sum);
}

// Packs n gathered rows of component k, from number `start` on, into the panel, times their
// responsibilities.
template <class T>
void pack_gathered(const Model<T>& model, Tile<T>& tile, std::int64_t k, std::int64_t start,
                   std::int64_t n) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    const std::int64_t D = model.n_features, P = model.padded_features;
    const T* centre = model.centres + k * P;
    const T* low = model.centres_low ? model.centres_low + k * P : nullptr;
    for (std::int64_t m = 0; m < n; ++m) {
        const std::int64_t row = tile.gathered[start + m];
        const T q = tile.gathered_weight[start + m];
        T* u = tile.panel + m * P;
        if (tile.whitened) {
            const T* y = tile.whitened + (row / G * model.n_components + k) * D * G + row % G;
            for (std::int64_t d = 0; d < D; ++d) u[d] = -q * y[d * G];
        } else {
            const T* x = tile.row_major + row * P;
            for (std::int64_t d = 0; d < P; d += W) {
                V difference = V::load(centre + d) - V::load(x + d);
                if (low) difference = difference + V::load(low + d);
                (V::set(q) * difference).store(u + d);
            }
        }
    }
}

template <class T>
void gathered_gradient(const Model<T>& model, Tile<T>& tile) {
    const std::int64_t D = model.n_features, P = model.padded_features;
    const std::int64_t chunk = tile.panel_size / P;
    if (!tile.whitened) load_row_major(tile, model);
    for (std::int64_t i = 0; i < tile.n_rows * P; ++i) tile.gradient[i] = T(0);
    for (std::int64_t k = 0; k < model.n_components; ++k) {
        if (stops(tile)) return;
        const T* matrix = model.gathered_matrices + k * model.gathered_matrix_stride;
        const std::int64_t n_gathered = gather_shares(model, tile, k);
        for (std::int64_t start = 0; start < n_gathered; start += chunk) {
            const std::int64_t n = n_gathered - start < chunk ? n_gathered - start : chunk;
            pack_gathered(model, tile, k, start, n);
            add_products(tile.panel, P, D, matrix, tile.whitened != nullptr, tile.gathered + start,
                         n, tile.gradient);
        }
    }
    if (!tile.whitened && model.gradient_scale != T(1))
        for (std::int64_t i = 0; i < tile.n_rows * P; ++i) tile.gradient[i] *= model.gradient_scale;
    for (std::int64_t n = 0; n < tile.n_rows; ++n)
        ::memcpy(tile.out_gradient + n * D, tile.gradient + n * P,
                 static_cast<std::size_t>(D) * sizeof(T));
}
