// Gradient of the log evidence in the rows, sum_k q_nk Lambda_k (mu_k - x_n), one component at a
// time from the list of its rows, lanes across features.
//
// For precisions of many features, whose posteriors are sparse. The rows u are packed as for the
// listed moments and meet a matrix in register blocks of outer_rows rows by outer_vectors vectors
// of columns; all rows meet a block of columns, which stays in L1, before the next is fetched.
//
// Where the log-joint kept the whitened rows y = P_k^T (x - mu_k), u = -q y meets the factor:
// D^2 / 2 multiplications for each component of a row, as the log-joint took. Without them
// u = q (mu_k - x) meets the precision, D^2, while mixing (kernels/estep/mixed_gradient-inl.h)
// takes D^2 / 2 for each component of a whole group and D^2 more: a tile goes the cheaper way.
//
// Rows of responsibility at most negligible_share are not listed.
//
// Layout of model.listed_matrices: for each component a (n_features, n_features) matrix A in blocks
// of outer_vectors vectors of columns (the last one holds the remaining vectors), columns beyond
// the last feature zero. Of the precision a block has all rows; of P_k^T, which is lower
// triangular, those from its first column on.

// Responsibilities up to this many (one over 2e5 epsilon) change no digit of a row's gradient,
// unless its terms Lambda_k (mu_k - x) differ by as many orders of magnitude: it is off by at most
// the sum of negligible_share |Lambda_k (mu_k - x)|.
template <class T>
constexpr T negligible_share = sizeof(T) == 8 ? T(1e-21) : T(6e-13);

// out[list[m]] += u_m A for a block of n_rows rows and n_vectors vectors of columns of A.
template <class T, int n_rows, int n_vectors>
inline void product_block(const T* u, std::int64_t stride, std::int64_t depth, const T* columns,
                          const std::int32_t* list, T* out) {
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
        T* target = out + list[r] * stride;
        for (int b = 0; b < n_vectors; ++b)
            (V::load(target + b * W) + acc[r][b]).store(target + b * W);
    }
}

// The last rows, fewer than a block.
template <class T, int n, int n_vectors>
inline void product_remainder(const T* u, std::int64_t stride, std::int64_t depth, const T* columns,
                              const std::int32_t* list, std::int64_t n_rows, T* out) {
    if (n_rows == n)
        product_block<T, n, n_vectors>(u, stride, depth, columns, list, out);
    else if constexpr (n > 1)
        product_remainder<T, n - 1, n_vectors>(u, stride, depth, columns, list, n_rows, out);
}

// All rows against one block of columns.
template <class T, int n_vectors>
void product_columns(const T* u, std::int64_t stride, std::int64_t depth, const T* columns,
                     const std::int32_t* list, std::int64_t n_rows, T* out) {
    constexpr int R = Blocking::outer_rows;
    std::int64_t m = 0;
    for (; m + R <= n_rows; m += R)
        product_block<T, R, n_vectors>(u + m * stride, stride, depth, columns, list + m, out);
    if (m < n_rows)
        product_remainder<T, R - 1, n_vectors>(u + m * stride, stride, depth, columns, list + m,
                                               n_rows - m, out);
}

template <class T, int n>
void last_product_columns(const T* u, std::int64_t stride, std::int64_t depth, const T* columns,
                          std::int64_t n_vectors, const std::int32_t* list, std::int64_t n_rows,
                          T* out) {
    if (n_vectors == n)
        product_columns<T, n>(u, stride, depth, columns, list, n_rows, out);
    else if constexpr (n > 1)
        last_product_columns<T, n - 1>(u, stride, depth, columns, n_vectors, list, n_rows, out);
}

// Rows and their output have the same stride, and are as long as the matrix is wide.
template <class T>
void add_products(const T* u, std::int64_t stride, std::int64_t n_features, const T* matrix,
                  bool triangular, const std::int32_t* list, std::int64_t n_rows, T* out) {
    constexpr int W = Lanes<T>::width, N = Blocking::outer_vectors;
    for (std::int64_t c = 0; c < n_features; c += N * W) {
        const std::int64_t first = triangular ? c : 0, depth = n_features - first;
        const std::int64_t n_vectors = (n_features - c + W - 1) / W;
        if (n_vectors >= N)
            product_columns<T, N>(u + first, stride, depth, matrix, list, n_rows, out + c);
        else
            last_product_columns<T, N - 1>(u + first, stride, depth, matrix, n_vectors, list,
                                           n_rows, out + c);
        matrix += N * W * depth;
    }
}

// Rows of component k that count, with their responsibilities.
template <class T>
std::int64_t list_shares(const Model<T>& model, Tile<T>& tile, std::int64_t k) {
    return list_above(tile, model.joint_stride, k, negligible_share<T>, tile.inverse_sum);
}

// Whether lists are there and take fewer multiplications than the mixing.
template <class T>
bool lists_gradient(const Model<T>& model, const Tile<T>& tile) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    if (tile.whitened) return true;
    if (!model.listed_matrices) return false;
    const V limit = V::set(negligible_share<T>);
    std::int64_t pairs = 0, mixed = 0;  // multiplications over D^2, twice as many over D^2 / 2
    for (std::int64_t g = 0; g < group_count(tile); ++g) {
        const T* joint = tile.joint + g * model.joint_stride;
        mixed += 2 * G;
        for (std::int64_t k = 0; k < model.n_components; ++k) {
            int count = 0;
            for (int v = 0; v < Blocking::row_vectors; ++v)
                count += __builtin_popcount(V::bits(less(limit, V::load(joint + k * G + v * W))));
            pairs += count;
            if (count > 0) mixed += G;
        }
    }
    return 2 * pairs < mixed;
}

// Packs n listed rows of component k into the panel, times their responsibilities.
template <class T>
void pack_listed(const Model<T>& model, Tile<T>& tile, std::int64_t k, std::int64_t start,
                 std::int64_t n) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    const std::int64_t D = model.n_features, P = model.padded_features;
    const T* centre = model.centres + k * P;
    const T* remainder = model.remainder ? model.remainder + k * P : nullptr;
    for (std::int64_t m = 0; m < n; ++m) {
        const std::int64_t row = tile.list[start + m];
        const T q = tile.list_weight[start + m];
        T* u = tile.panel + m * P;
        if (tile.whitened) {
            const T* y = tile.whitened + (row / G * model.n_components + k) * D * G + row % G;
            for (std::int64_t d = 0; d < D; ++d) u[d] = -q * y[d * G];
        } else {
            const T* x = tile.row_major + row * P;
            for (std::int64_t d = 0; d < P; d += W) {
                V difference = V::load(centre + d) - V::load(x + d);
                if (remainder) difference = difference + V::load(remainder + d);
                (V::set(q) * difference).store(u + d);
            }
        }
    }
}

template <class T>
void listed_gradient(const Model<T>& model, Tile<T>& tile) {
    const std::int64_t D = model.n_features, P = model.padded_features;
    const std::int64_t chunk = tile.panel_size / P;
    if (!tile.whitened) load_row_major(tile, model);
    for (std::int64_t i = 0; i < tile.n_rows * P; ++i) tile.gradient[i] = T(0);
    for (std::int64_t k = 0; k < model.n_components; ++k) {
        if (stops(tile)) return;
        const T* matrix = model.listed_matrices + k * model.listed_matrix_stride;
        const std::int64_t n_listed = list_shares(model, tile, k);
        for (std::int64_t start = 0; start < n_listed; start += chunk) {
            const std::int64_t n = n_listed - start < chunk ? n_listed - start : chunk;
            pack_listed(model, tile, k, start, n);
            add_products(tile.panel, P, D, matrix, tile.whitened != nullptr, tile.list + start, n,
                         tile.gradient);
        }
    }
    for (std::int64_t n = 0; n < tile.n_rows; ++n)
        __builtin_memcpy(tile.out_gradient + n * D, tile.gradient + n * P,
                         static_cast<std::size_t>(D) * sizeof(T));
}
