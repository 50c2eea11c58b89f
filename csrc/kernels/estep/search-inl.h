// The nearest centres of rows by bounds: what nearest-inl.h and distance_forms-inl.h find with all
// distances, to the bit.
//
// In: rows at any address, their labels and bounds from the last pass, centres in blocks
// (nearest_search.h).
// Out: labels and bounds, except for the rows of range.plain.
//
// A row keeps its label where the upper bound of the distance to its centre, loosened by the way
// that the centre has gone, is below the lower bound of the others' (Hamerly 2010). Else it meets
// the block of its centre, which gives the distance, and if that does not settle it those blocks
// that may have a centre within a radius about its nearest one so far (Newling and Fleuret 2016:
// Exponion; here by blocks). The radius has room for the second nearest centre, the next bound.
//
// Error: scores and distances of a row that meets a centre are computed as plain passes do, with
// the same operations in the same order. Squares of distances are exact to slack (reach + distance)
// ^2; bounds are in float and rounded outwards. Rows with squares that are not ordinary, and those
// with two nearest centres, are left to the plain way.
//
// Blocking: a row at a time, lanes across the centres of a block, so that rows which are certain
// cost nothing whatever rows are beside them.

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
    if (square == __builtin_inf()) return blocks.farthest;
    const double s = square <= 0 ? 0 : square, error = blocks.reach + ::sqrt(s);
    const double least = s - 2 * blocks.slack * error * error;
    return rounded_down(blocks.scale * ::sqrt(least > 0 ? least : 0));
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
        best = second = V::set(-static_cast<T>(__builtin_inf()));
        name = V::zero();
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

// The log-joints of a row and the centres of a block; `row` is minus the origin, or as it came
// where centres are far.
template <class T, bool far>
inline void block_log_joint(const CentreBlocks<T>& blocks, std::int64_t b, std::int64_t n_features,
                            T half_precision, const T* row, Lanes<T>* log_joint) {
    using V = Lanes<T>;
    constexpr int C = block_centres, W = V::width, NV = C / W;
    const T* centres = (far ? blocks.centres : blocks.means) + b * n_features * C;
    const T* low = far && sizeof(T) == 4 ? blocks.centres_low + b * n_features * C : nullptr;
    V acc[NV];
    for (V& a : acc) a = V::zero();
    for (std::int64_t d = 0; d < n_features; ++d) {
        const V x = V::set(row[d]);
        for (int v = 0; v < NV; ++v) {
            V t = x - V::load(centres + d * C + v * W);
            if constexpr (far && sizeof(T) == 4) t = t - V::load(low + d * C + v * W);
            acc[v] = fma(t, t, acc[v]);
        }
    }
    for (int v = 0; v < NV; ++v)
        log_joint[v] = fnma(V::set(half_precision), acc[v], V::load(blocks.offset + b * C + v * W));
}

// A row meets the centres of a block. `row`: minus the origin, then as it came.
template <class T>
inline void meet_block(const Model<T>& model, const CentreBlocks<T>& blocks, std::int64_t b,
                       const T* row, NearestOfLanes<T>& nearest) {
    using V = Lanes<T>;
    constexpr int C = block_centres, W = V::width, NV = C / W;
    const std::int64_t D = model.n_features;
    V score[NV];
    if (model.nearest) {
        for (int v = 0; v < NV; ++v)
            score[v] = V::zero() - V::load(blocks.half_norm + b * C + v * W);
        const T* means = blocks.means + b * D * C;
        for (std::int64_t d = 0; d < D; ++d) {
            const V x = V::set(row[d]);
            for (int v = 0; v < NV; ++v)
                score[v] = fma(x, V::load(means + d * C + v * W), score[v]);
        }
    } else {
        block_log_joint<T, false>(blocks, b, D, model.half_precision[0], row, score);
        if (!model.all_near) {
            V of_far[NV];
            block_log_joint<T, true>(blocks, b, D, model.half_precision[0], row + D, of_far);
            for (int v = 0; v < NV; ++v)
                score[v] = V::select(less(V::zero(), V::load(blocks.near + b * C + v * W)),
                                     score[v], of_far[v]);
        }
    }
    for (int v = 0; v < NV; ++v) nearest.meet(score[v], V::load(blocks.name + b * C + v * W));
}

// Reads a row into range.row. Returns its squared norm, minus the origin.
template <class T>
T read_row(const Model<T>& model, const RowRange<T>& range, std::int64_t n) {
    const char* p = range.rows + n * range.row_stride;
    const std::int64_t D = model.n_features;
    T* row = range.row;
    T norm = T(0);
    for (std::int64_t d = 0; d < D; ++d) {
        const T x = load_unaligned<T>(p + d * range.feature_stride);
        const T centred = x - model.origin[d];
        row[d] = centred;
        row[D + d] = x;
        norm += centred * centred;
    }
    return norm;
}

// Loosens the bounds by the ways of the centres and lists the rows that they leave open.
template <class T>
std::int64_t list_open_rows(const CentreBlocks<T>& blocks, RowRange<T>& range) {
    constexpr float up = 1.0f + 0x1p-22f, down = 1.0f - 0x1p-22f;
    const std::int64_t n_rows = range.n_rows;
    const std::int32_t* label = range.label;
    float *upper = range.upper, *least = range.least;
    std::uint8_t* flags = range.flags;
    if (!range.bounded)
        for (std::int64_t n = 0; n < n_rows; ++n) upper[n] = __builtin_inff();
    for (std::int64_t n = 0; n < n_rows; ++n) least[n] = __builtin_inff();
    for (std::int64_t g = 0; g < blocks.n_groups; ++g) {
        float* lower = range.lower + g * range.lower_stride;
        const float way = blocks.group_shift[g];
        for (std::int64_t n = 0; n < n_rows; ++n) {
            const float l = (lower[n] - way) * down;
            lower[n] = l;
            least[n] = l < least[n] ? l : least[n];
        }
    }
    const Certain certain{blocks.certain_slack, blocks.certain_reach, blocks.farthest};
    const float *shift = blocks.shift, *nearest_low = blocks.nearest_low;
    for (std::int64_t n = 0; n < n_rows && range.bounded; ++n) {
        const std::int32_t k = label[n];
        const float u = (upper[n] + shift[k]) * up, apart = (nearest_low[k] - u) * down;
        const float l = least[n] > apart ? least[n] : apart;
        upper[n] = u;
        flags[n] = !certain(u, l);
    }
    const bool every = range.log_joint != nullptr || !range.bounded;
    std::int64_t count = 0;
    for (std::int64_t n = 0; n < n_rows; ++n) {
        range.open[count] = static_cast<std::int32_t>(n);
        count += every || flags[n];
    }
    return count;
}

// The radius about centre k within which all centres lie that may be the nearest or the second
// nearest of a row at a distance of `upper`.
template <class T>
float search_radius(const CentreBlocks<T>& blocks, std::int64_t k, float upper) {
    const float error = blocks.certain_reach + upper;
    const float nearest = ::sqrtf(upper * upper + blocks.certain_slack * (error * error));
    const float second = upper + blocks.nearest_high[k];
    return (upper + (second > nearest ? second : nearest)) * (1.0f + 0x1p-20f);
}

// The square of a distance from what a row has of its nearest centre.
template <class T>
double square_of(const Model<T>& model, T norm, T best) {
    if (model.nearest) return static_cast<double>(norm) - 2 * static_cast<double>(best);
    return -static_cast<double>(best) / static_cast<double>(model.half_precision[0]);
}

// One row that the bounds leave open. Returns whether it has its label and new bounds; else all
// distances are wanted of it.
template <class T>
bool search_row(const Model<T>& model, const CentreBlocks<T>& blocks, RowRange<T>& range,
                std::int64_t n) {
    constexpr float down = 1.0f - 0x1p-22f;
    const Certain certain{blocks.certain_slack, blocks.certain_reach, blocks.farthest};
    const T norm = read_row(model, range, n);
    if (!(norm < ordinary_square<T>)) return false;
    const std::int32_t label = range.label[n];
    const bool bounded = range.upper[n] < __builtin_inff();
    float* lower = range.lower + n;
    NearestOfLanes<T> lanes;
    std::int64_t own;
    if (label < 0) {
        for (std::int64_t b = 0; b < blocks.n_coarse; ++b)
            meet_block(model, blocks, blocks.n_blocks + b, range.row, lanes);
        own = blocks.block[NearestTwo<T>(lanes).name];
        range.n_met += blocks.n_coarse;
        lanes.clear();
    } else {
        own = blocks.block[label];
    }
    meet_block(model, blocks, own, range.row, lanes);
    ++range.n_met;
    const NearestTwo<T> first(lanes);
    float upper = upper_distance(blocks, square_of(model, norm, first.best));
    const bool same = bounded && first.name == label && first.second < first.best;
    if (same && certain(upper, range.least[n])) {
        range.upper[n] = upper;
        if (range.log_joint) range.log_joint[n] = first.best;
        return true;
    }
    const float* gap = blocks.gap ? blocks.gap + first.name * blocks.n_blocks : nullptr;
    const float radius = gap ? search_radius(blocks, first.name, upper) : 0.0f;
    T best = first.best, bests[most_groups], seconds[most_groups];
    std::int32_t name = first.name, names[most_groups];
    float beyond[most_groups];  // bounds of the centres of a group that the row did not meet
    bool tie = false;
    for (std::int64_t g = 0; g < blocks.n_groups; ++g) {
        names[g] = -1;
        if (bounded && certain(upper, lower[g * range.lower_stride])) continue;
        NearestOfLanes<T> of_group;
        const std::int64_t begin = blocks.group[g], end = blocks.group[g + 1];
        if (begin <= own && own < end) of_group = lanes;
        float nearest_left = __builtin_inff();
        for (std::int64_t b = begin; b < end; ++b) {
            if (b == own) continue;
            if (gap && gap[b] > radius) {
                nearest_left = gap[b] < nearest_left ? gap[b] : nearest_left;
                continue;
            }
            meet_block(model, blocks, b, range.row, of_group);
            ++range.n_met;
        }
        beyond[g] = (nearest_left - upper) * down;
        const NearestTwo<T> two(of_group);
        bests[g] = two.best;
        seconds[g] = two.second;
        names[g] = two.name;
        if (two.best > best)
            tie = two.best == two.second;
        else if (two.best == best)
            tie = tie || two.name != name || two.second == two.best;
        name = two.best > best ? two.name : name;
        best = two.best > best ? two.best : best;
    }
    if (tie || (name == first.name && first.second == first.best)) return false;
    for (std::int64_t g = 0; g < blocks.n_groups; ++g) {
        float* bound = lower + g * range.lower_stride;
        if (names[g] >= 0) {
            const T nearest = names[g] == name ? seconds[g] : bests[g];
            const float met = lower_distance(blocks, square_of(model, norm, nearest));
            *bound = beyond[g] < met ? beyond[g] : met;
        } else if (name != first.name && blocks.group[g] <= own && own < blocks.group[g + 1]) {
            // The row leaves a centre of a group that it did not meet.
            const float met = lower_distance(blocks, square_of(model, norm, first.best));
            *bound = met < *bound ? met : *bound;
        }
    }
    range.label[n] = name;
    range.upper[n] = upper_distance(blocks, square_of(model, norm, best));
    if (range.log_joint) range.log_joint[n] = best;
    return true;
}

// See Kernels::search_step in table.h.
template <class T>
void search_step(const Model<T>& model, const CentreBlocks<T>& blocks, RowRange<T>& range) {
    // Where the first rows meet most of the blocks, the others meet all centres many rows at a
    // time, which costs less, and have no bounds until the first rows do better.
    constexpr std::int64_t trial = 32;
    const std::int64_t n_open = list_open_rows(blocks, range);
    range.n_plain = range.n_met = 0;
    bool crowded = false;
    for (std::int64_t i = 0; i < n_open; ++i) {
        const std::int32_t n = range.open[i];
        if (n >= trial && (i == 0 || range.open[i - 1] < trial))
            crowded = 10 * range.n_met > 6 * trial * blocks.n_blocks;
        if (!crowded && search_row(model, blocks, range, n)) continue;
        range.plain[range.n_plain++] = n;
    }
}

// See Kernels::gaps_of_centre.
template <class T>
void gaps_of_centre(const Model<T>& model, const CentreBlocks<T>& blocks, std::int64_t k,
                    float* gap, float* nearest_low, float* nearest_high) {
    using V = Lanes<T>;
    constexpr int C = block_centres, W = V::width, NV = C / W;
    constexpr T inf = static_cast<T>(__builtin_inf());
    const T* x = model.means + k * model.padded_features;
    T least = inf;
    for (std::int64_t b = 0; b < blocks.n_blocks; ++b) {
        V log_joint[NV], lowest = V::set(inf);
        block_log_joint<T, false>(blocks, b, model.n_features, T(1), x, log_joint);
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

// See Kernels::nearest_labels.
template <class T>
void nearest_labels(const Model<T>& model, Tile<T>& tile) {
    tile.sums = no_sums;
    if (!load_features(tile, model.n_features, model.origin, model.nearest)) return;
    if (model.nearest) {
        nearest_scores(model, tile, tile.row_scale);
        for (std::int64_t n = 0; n < tile.n_rows; ++n)
            tile.label[n] = static_cast<std::int32_t>(tile.row_scale[n]);
        return;
    }
    log_joint(model, tile, [&](std::int64_t g) {
        if (tile.squares_overflow || model.extreme) settle_undefined(model, tile, g);
    });
    for (std::int64_t g = 0; g < group_count(tile); ++g) {
        settle_overflowed(model, tile, g);
        find_labels(model, tile, g);
    }
}

// See Kernels::labelled_rows.
template <class T>
void labelled_rows(const Model<T>& model, Tile<T>& tile, const std::int32_t* label) {
    tile.sums = no_sums;
    load_features(tile, model.n_features, model.origin, model.moments == Moments::spherical);
    for (std::int64_t n = 0; n < tile.n_rows; ++n) {
        tile.label[n] = label[n];
        tile.row_scale[n] = tile.row_weight[n];
    }
}
