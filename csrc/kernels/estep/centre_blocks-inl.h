// One row meets centres in blocks (nearest_search.h): their scores or log-joints, the best of them,
// and what these say of distances.
//
// In: a row, minus the origin and as it came; CentreBlocks.
// Out: the two best scores of a row; bounds of distances in float, rounded outwards.
//
// Error: scores and log-joints are computed with the operations of nearest-inl.h and
// distance_forms-inl.h, in their order, and have their bits. See CentreBlocks::slack for distances.
//
// Blocking: lanes across the centres of a block; as many blocks together as hide the latency of
// sums.

inline float rounded_up(double a) {
    return static_cast<float>(a) * (1.0f + 0x1p-22f);
}

inline float rounded_down(double a) {
    return static_cast<float>(a) * (1.0f - 0x1p-22f);
}

// Bounds of a distance whose computed square is given; NaN for NaN. One that overflowed, or that of
// no centre, is beyond the farthest that counts.
template <class T>
float upper_distance(const CentreBlocks<T>& blocks, double square) {
    const double s = square <= 0 ? 0 : square, error = blocks.reach + ::sqrt(s);
    return rounded_up(blocks.scale * ::sqrt(s + 2 * blocks.slack * error * error));
}

template <class T>
float lower_distance(const CentreBlocks<T>& blocks, double square) {
    if (square == runtime::infinity) return blocks.farthest;
    const double s = square <= 0 ? 0 : square, error = blocks.reach + ::sqrt(s);
    const double least = s - 2 * blocks.slack * error * error;
    // No more than a number: an infinite bound would stay one however far centres move.
    const double distance = blocks.scale * ::sqrt(least > 0 ? least : 0);
    return rounded_down(distance < blocks.farthest ? distance : blocks.farthest);
}

// Whether computed distances are sure to put one centre before the others.
struct Certain {
    float slack, reach, farthest;

    bool operator()(float upper, float lower) const {
        const float error = reach + upper;
        return lower > upper && (lower - upper) * (lower + upper) > slack * (error * error) &&
               upper < farthest;
    }
};

// The centres that one row has met: in lanes, then the first two of all.
template <class T>
struct NearestOfLanes {
    using V = Lanes<T>;
    V best, second, name;

    NearestOfLanes() { clear(); }
    void clear() {
        best = second = V::set(-static_cast<T>(runtime::infinity));
        name = V::zero();
    }
    void store(T* to) const {
        best.store(to);
        second.store(to + V::width);
        name.store(to + 2 * V::width);
    }
    void load(const T* from) {
        best = V::load(from);
        second = V::load(from + V::width);
        name = V::load(from + 2 * V::width);
    }
    void meet(V score, V names) {
        second = max(second, min(score, best));
        name = V::select(less(best, score), names, name);
        best = max(score, best);
    }
};

template <class T>
struct NearestTwo {
    T best, second;
    std::int32_t name;

    explicit NearestTwo(const NearestOfLanes<T>& lanes) {
        constexpr int W = Lanes<T>::width;
        T first[W], next[W], names[W];
        lanes.best.store(first);
        lanes.second.store(next);
        lanes.name.store(names);
        best = first[0];
        second = next[0];
        int at = 0;
        for (int i = 1; i < W; ++i) {
            const T lower = first[i] > best ? best : first[i];
            second = lower > second ? lower : second;
            second = next[i] > second ? next[i] : second;
            at = first[i] > best ? i : at;
            best = first[i] > best ? first[i] : best;
        }
        name = static_cast<std::int32_t>(names[at]);
    }
};

// How many blocks a row meets together: as many sums as hide the latency of one.
template <class T>
constexpr int blocks_together = tuning::block_centres / Lanes<T>::width >= 8   ? 1
                                : tuning::block_centres / Lanes<T>::width >= 4 ? 2
                                                                               : 4;

// The log-joints of a row and the centres of `n` blocks; `row` is minus the origin, or as it came
// where centres are far.
template <class T, int n, bool far>
inline void block_log_joint(const CentreBlocks<T>& blocks, const std::int64_t* b,
                            std::int64_t n_features, T half_precision, const T* row,
                            Lanes<T> (*log_joint)[tuning::block_centres / Lanes<T>::width]) {
    using V = Lanes<T>;
    constexpr int C = tuning::block_centres, W = V::width, NV = C / W;
    const T *centres[n], *low[n];
    V acc[n][NV];
    VBFAST_UNROLL(8)
    for (int i = 0; i < n; ++i) {
        centres[i] = (far ? blocks.centres : blocks.means) + b[i] * n_features * C;
        low[i] = far && sizeof(T) == 4 ? blocks.centres_low + b[i] * n_features * C : nullptr;
        VBFAST_UNROLL(16)
        for (int v = 0; v < NV; ++v) acc[i][v] = V::zero();
    }
    for (std::int64_t d = 0; d < n_features; ++d) {
        const V x = V::set(row[d]);
        VBFAST_UNROLL(8)
        for (int i = 0; i < n; ++i) VBFAST_UNROLL(16)
        for (int v = 0; v < NV; ++v) {
            V t = x - V::load(centres[i] + d * C + v * W);
            if constexpr (far && sizeof(T) == 4) t = t - V::load(low[i] + d * C + v * W);
            acc[i][v] = fma(t, t, acc[i][v]);
        }
    }
    VBFAST_UNROLL(8)
    for (int i = 0; i < n; ++i) VBFAST_UNROLL(16)
    for (int v = 0; v < NV; ++v)
        log_joint[i][v] =
            fnma(V::set(half_precision), acc[i][v], V::load(blocks.offset + b[i] * C + v * W));
}

// The scores of a row and the centres of `n` blocks, see nearest-inl.h.
template <class T, int n>
inline void block_scores(const CentreBlocks<T>& blocks, const std::int64_t* b,
                         std::int64_t n_features, const T* row,
                         Lanes<T> (*score)[tuning::block_centres / Lanes<T>::width]) {
    using V = Lanes<T>;
    constexpr int C = tuning::block_centres, W = V::width, NV = C / W;
    const T* means[n];
    V acc[n][NV];
    VBFAST_UNROLL(8)
    for (int i = 0; i < n; ++i) {
        means[i] = blocks.means + b[i] * n_features * C;
        VBFAST_UNROLL(16)
        for (int v = 0; v < NV; ++v)
            acc[i][v] = V::zero() - V::load(blocks.half_norm + b[i] * C + v * W);
    }
    for (std::int64_t d = 0; d < n_features; ++d) {
        const V x = V::set(row[d]);
        VBFAST_UNROLL(8)
        for (int i = 0; i < n; ++i) VBFAST_UNROLL(16)
        for (int v = 0; v < NV; ++v)
            acc[i][v] = fma(x, V::load(means[i] + d * C + v * W), acc[i][v]);
    }
    VBFAST_UNROLL(8)
    for (int i = 0; i < n; ++i) VBFAST_UNROLL(16)
    for (int v = 0; v < NV; ++v) score[i][v] = acc[i][v];
}

// A row meets the centres of `n` blocks. `row`: minus the origin, then as it came.
template <class T, int n>
inline void meet_blocks(const Model<T>& model, const CentreBlocks<T>& blocks, const std::int64_t* b,
                        const T* row, NearestOfLanes<T>& nearest) {
    using V = Lanes<T>;
    constexpr int C = tuning::block_centres, W = V::width, NV = C / W;
    const std::int64_t D = model.n_features;
    V score[n][NV];
    if (model.nearest) {
        block_scores<T, n>(blocks, b, D, row, score);
    } else {
        block_log_joint<T, n, false>(blocks, b, D, model.half_precision[0], row, score);
        if (!model.all_near) {
            V of_far[n][NV];
            block_log_joint<T, n, true>(blocks, b, D, model.half_precision[0], row + D, of_far);
            for (int i = 0; i < n; ++i)
                for (int v = 0; v < NV; ++v)
                    score[i][v] =
                        V::select(less(V::zero(), V::load(blocks.near + b[i] * C + v * W)),
                                  score[i][v], of_far[i][v]);
        }
    }
    VBFAST_UNROLL(8)
    for (int i = 0; i < n; ++i) VBFAST_UNROLL(16)
    for (int v = 0; v < NV; ++v) nearest.meet(score[i][v], V::load(blocks.name + b[i] * C + v * W));
}

// A row meets blocks of a list, as many together as there are.
template <class T>
inline void meet_all(const Model<T>& model, const CentreBlocks<T>& blocks, const std::int64_t* b,
                     std::int64_t n_blocks, const T* row, NearestOfLanes<T>& nearest) {
    constexpr int n = blocks_together<T>;
    std::int64_t i = 0;
    for (; i + n <= n_blocks; i += n) meet_blocks<T, n>(model, blocks, b + i, row, nearest);
    for (; i < n_blocks; ++i) meet_blocks<T, 1>(model, blocks, b + i, row, nearest);
}

// See Kernels::gaps_of_centre.
template <class T>
void gaps_of_centre(const Model<T>& model, const CentreBlocks<T>& blocks, std::int64_t k,
                    float* gap, float* nearest_low, float* nearest_high) {
    using V = Lanes<T>;
    constexpr int C = tuning::block_centres, W = V::width, NV = C / W;
    constexpr T inf = static_cast<T>(runtime::infinity);
    const T* x = model.means + k * model.padded_features;
    T least = inf;
    for (std::int64_t b = 0; b < blocks.n_blocks; ++b) {
        V log_joint[NV], lowest = V::set(inf);
        block_log_joint<T, 1, false>(blocks, &b, model.n_features, T(1), x, &log_joint);
        for (int v = 0; v < NV; ++v) {
            const V itself = V::set(static_cast<T>(k)), name = V::load(blocks.name + b * C + v * W);
            const V square = V::zero() - log_joint[v];
            lowest = min(V::select(equal(name, itself), V::set(inf), square), lowest);
        }
        T lanes[W];
        lowest.store(lanes);
        T square = lanes[0];
        for (int i = 1; i < W; ++i) square = lanes[i] < square ? lanes[i] : square;
        gap[b] = lower_distance(blocks, static_cast<double>(square));
        least = square < least ? square : least;
    }
    *nearest_low = lower_distance(blocks, static_cast<double>(least));
    *nearest_high = upper_distance(blocks, static_cast<double>(least));
}

// See Kernels::mark_near.
template <class T>
void mark_near(const Model<T>& model, T* near) {
    constexpr int n = Blocking::distance_components;
    const std::int64_t K = model.n_components, step = plan_visits(model, 1).components;
    for (std::int64_t first = 0; first < K; first += step) {
        const std::int64_t last = first + step < K ? first + step : K;
        std::int64_t k = first;
        for (; k + n <= last; k += n)
            for (int i = 0; i < n; ++i) near[k + i] = all_near<T, n>(model, k) ? T(1) : T(0);
        for (; k < last; ++k) near[k] = all_near<T, 1>(model, k) ? T(1) : T(0);
    }
}
