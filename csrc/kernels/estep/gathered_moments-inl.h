// Sufficient statistics of one component at a time from the rows that it gathers, about its own
// mean as it is rounded in model.centres.
//
// Used where the dense product does not fit: many features (its D^2 / 2 columns would be made anew
// for every tile, while high-dimensional posteriors are sparse, which gathering exploits), far
// components, and rows that belong to one component only.
//
// In: tile.row_major, and tile.gathered with tile.gathered_weight (gather-inl.h).
// Out: a component's sums at gathered_stride: weight, first moments (D), then the second: D numbers
// (diag), one (spherical) or a triangle (full, see triangle-inl.h). When pooled, all components
// share one triangle, `pooled`.
//
// Error: sums are in T over the rows of one panel, and float64 from there on.
//
// Blocking: rows u = sqrt(r) (x - mu) are packed into the panel, lanes across features, an odd
// number of cache lines apart. S += u u^T runs over the triangle in register blocks of outer_rows
// rows by outer_vectors vectors.

// Columns [c, c + n vectors) of outer_rows rows starting at i.
template <class T, int n>
inline void outer_block(const T* u, std::int64_t stride, std::int64_t n_rows, std::int64_t i,
                        std::int64_t c, std::int64_t width, double* out) {
    using V = Lanes<T>;
    constexpr int W = V::width, R = Blocking::outer_rows;
    V acc[R][n];
    for (int a = 0; a < R; ++a)
        for (int b = 0; b < n; ++b) acc[a][b] = V::zero();
    for (std::int64_t m = 0; m < n_rows; ++m, u += stride) {
        V right[n];
        for (int b = 0; b < n; ++b) right[b] = V::load(u + c + b * W);
        for (int a = 0; a < R; ++a) {
            const V left = V::set(u[i + a]);
            for (int b = 0; b < n; ++b) acc[a][b] = fma(left, right[b], acc[a][b]);
        }
    }
    for (int a = 0; a < R; ++a)
        for (int b = 0; b < n; ++b) {
            double* target = out + a * width + c + b * W;
            if (c + (b + 1) * W <= width) {
                acc[a][b].add_to(target);
            } else {  // wider than the block row: float32 lanes over the last columns
                T lanes[W];
                acc[a][b].store(lanes);
                for (int j = 0; c + b * W + j < width; ++j)
                    target[j] += static_cast<double>(lanes[j]);
            }
        }
}

template <class T>
void outer_products(const T* u, std::int64_t stride, std::int64_t n_rows, std::int64_t n_features,
                    double* triangle) {
    constexpr int W = Lanes<T>::width, R = Blocking::outer_rows, N = Blocking::outer_vectors;
    for (std::int64_t b = 0; b * triangle_rows < n_features; ++b) {
        const std::int64_t width = (b + 1) * triangle_rows;
        for (int r = 0; r < triangle_rows; r += R) {
            double* out = triangle + triangle_start(b) + r * width;
            const std::int64_t i = b * triangle_rows + r;
            std::int64_t c = 0;
            // Two and two rather than three and one, whose sums would be too few for the latency.
            for (; c + N * W <= width && c + (N + 1) * W != width; c += N * W)
                outer_block<T, N>(u, stride, n_rows, i, c, width, out);
            for (; c + 2 * W <= width; c += 2 * W)
                outer_block<T, 2>(u, stride, n_rows, i, c, width, out);
            for (; c < width; c += W) outer_block<T, 1>(u, stride, n_rows, i, c, width, out);
        }
    }
}

// Gathers the rows of component k with their weights r > 0: of a posterior, those that count.
template <class T>
std::int64_t gather_rows(const Model<T>& model, Tile<T>& tile, std::int64_t k) {
    const T limit = tile.assignment == Assignment::posterior ? least_responsibility<T> : T(0);
    if (!by_label(tile)) return gather_above(tile, model.joint_stride, k, limit, tile.row_scale);
    std::int64_t count = 0;
    for (std::int64_t n = 0; n < tile.n_rows; ++n)
        if (tile.label[n] == k && tile.row_scale[n] > T(0)) {
            tile.gathered[count] = static_cast<std::int32_t>(n);
            tile.gathered_weight[count++] = tile.row_scale[n];
        }
    return count;
}

// Adds the moments of the gathered rows about `mean`: all of them, or only the outer products where
// `sums` is null. The weights in tile.gathered_weight become their roots.
template <class T>
void gathered_moments(const Model<T>& model, Tile<T>& tile, std::int64_t n_gathered, const T* mean,
                      double* sums, double* second) {
    using V = Lanes<T>;
    constexpr int W = V::width;
    const std::int64_t D = model.n_features, P = model.padded_features;
    const bool outer = model.moments == Moments::full || model.moments == Moments::pooled;
    const std::int64_t stride = tile.panel_stride, chunk = tile.panel_size / stride;
    if (sums)
        for (std::int64_t n = 0; n < n_gathered; ++n)
            sums[0] += static_cast<double>(tile.gathered_weight[n]);
    // Held here, for a store to the panel might change what the tile has.
    T* const roots = tile.gathered_weight;
    T* const panel = tile.panel;
    const T* const rows = tile.row_major;
    const std::int32_t* const gathered = tile.gathered;
    for (std::int64_t n = 0; n < n_gathered; n += W) sqrt(V::load(roots + n)).store(roots + n);
    for (std::int64_t start = 0; start < n_gathered; start += chunk) {
        const std::int64_t n = n_gathered - start < chunk ? n_gathered - start : chunk;
        for (std::int64_t m = 0; m < n; ++m) {
            const V root = V::set(roots[start + m]);
            const T* x = rows + static_cast<std::int64_t>(gathered[start + m]) * P;
            T* u = panel + m * stride;
            for (std::int64_t d = 0; d < P; d += W)
                (root * (V::load(x + d) - V::load(mean + d))).store(u + d);
        }
        if (sums)
            for (std::int64_t d = 0; d < D; d += W) {
                V first = V::zero(), square = V::zero();
                for (std::int64_t m = 0; m < n; ++m) {
                    const V u = V::load(panel + m * stride + d);
                    first = fma(V::set(roots[start + m]), u, first);
                    square = fma(u, u, square);
                }
                T lanes[2][W];
                first.store(lanes[0]);
                square.store(lanes[1]);
                for (int j = 0; j < W && d + j < D; ++j) {
                    sums[1 + d + j] += static_cast<double>(lanes[0][j]);
                    if (model.moments == Moments::diag)
                        second[d + j] += static_cast<double>(lanes[1][j]);
                    else if (model.moments == Moments::spherical)
                        second[0] += static_cast<double>(lanes[1][j]);
                }
            }
        if (outer) outer_products(panel, stride, n, D, second);
    }
}

// Sums of rows by label: one addition a row and feature.
template <class T>
void label_means(const Model<T>& model, const Tile<T>& tile, std::int64_t first, std::int64_t last,
                 double* gathered) {
    const std::int64_t D = model.n_features, P = model.padded_features;
    for (std::int64_t n = 0; n < tile.n_rows; ++n) {
        const std::int64_t k = tile.label[n];
        const double r = static_cast<double>(tile.row_scale[n]);
        if (k < first || k >= last || !(r > 0)) continue;
        double* sums = gathered + k * model.gathered_stride;
        const T* x = tile.row_major + n * P;
        const T* centre = model.centres + k * P;
        sums[0] += r;
        for (std::int64_t d = 0; d < D; ++d)
            sums[1 + d] += r * static_cast<double>(x[d] - centre[d]);
    }
}
