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

constexpr float unbounded = static_cast<float>(runtime::infinity);

// Reads a row: minus the origin, then as it came. Returns its squared norm, minus the origin.
template <class T>
T read_row(const Model<T>& model, const RowRange<T>& range, std::int64_t n, T* row) {
    const char* p = range.rows + n * range.row_stride;
    const std::int64_t D = model.n_features;
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
        for (std::int64_t n = 0; n < n_rows; ++n) upper[n] = unbounded;
    for (std::int64_t n = 0; n < n_rows; ++n) least[n] = unbounded;
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
        const std::int32_t k = label[n] < 0 ? 0 : label[n];  // none: its upper bound is infinite
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

// A row that the bounds leave open meets the block of its centre; one without a label, that of the
// nearest of the coarse blocks. Returns whether that settles it.
template <class T>
bool meet_own(const Model<T>& model, const CentreBlocks<T>& blocks, RowRange<T>& range,
              std::int64_t n, const T* row, T norm, OpenRow<T>& open) {
    const Certain certain{blocks.certain_slack, blocks.certain_reach, blocks.farthest};
    const std::int32_t label = range.label[n];
    NearestOfLanes<T> lanes;
    if (label < 0) {
        for (std::int64_t b = blocks.n_blocks; b < blocks.n_blocks + blocks.n_coarse; ++b)
            meet_blocks<T, 1>(model, blocks, &b, row, lanes);
        open.own = blocks.block[NearestTwo<T>(lanes).name];
        range.n_met += blocks.n_coarse;
        lanes.clear();
    } else {
        open.own = blocks.block[label];
    }
    meet_blocks<T, 1>(model, blocks, &open.own, row, lanes);
    ++range.n_met;
    ++range.n_searched;
    const NearestTwo<T> first(lanes);
    open.norm = norm;
    open.bounded = range.upper[n] < unbounded;
    open.best = first.best;
    open.name = open.pivot = first.name;
    open.tie = first.best == first.second;
    open.upper = upper_distance(blocks, square_of(model, norm, first.best));
    open.radius = search_radius(blocks, first.name, open.upper);
    open.holder = 0;
    while (blocks.group[open.holder + 1] <= open.own) ++open.holder;
    lanes.store(open.lanes);
    return open.bounded && first.name == label && !open.tie && certain(open.upper, range.least[n]);
}

// An open row meets the blocks of a group that are within its radius.
template <class T>
void meet_group(const Model<T>& model, const CentreBlocks<T>& blocks, RowRange<T>& range,
                std::int64_t n, const T* row, std::int64_t g, OpenRow<T>& open) {
    constexpr float down = 1.0f - 0x1p-22f;
    const float* gap = blocks.gap ? blocks.gap + open.pivot * blocks.n_blocks : nullptr;
    float nearest_left = unbounded;
    std::int64_t n_listed = 0;
    for (std::int64_t b = blocks.group[g]; b < blocks.group[g + 1]; ++b) {
        if (b == open.own) continue;
        if (gap && gap[b] > open.radius)
            nearest_left = gap[b] < nearest_left ? gap[b] : nearest_left;
        else
            range.listed[n_listed++] = b;
    }
    NearestOfLanes<T> lanes;
    if (blocks.group[g] <= open.own && open.own < blocks.group[g + 1]) lanes.load(open.lanes);
    meet_all(model, blocks, range.listed, n_listed, row, lanes);
    range.n_met += n_listed;
    ++range.n_searched;
    const NearestTwo<T> two(lanes);
    const auto distance = [&](T score) {
        return lower_distance(blocks, square_of(model, open.norm, score));
    };
    float* lower = range.lower + n;
    T nearest = two.best;  // of those that are not the nearest of all
    if (two.best > open.best || (two.best == open.best && two.name == open.name)) {
        if (open.holder != g) {  // the row leaves a centre of another group
            float& left = lower[open.holder * range.lower_stride];
            const float met = distance(open.best);
            left = met < left ? met : left;
        }
        nearest = two.second;
        open.tie = two.best == two.second || (open.tie && two.best == open.best);
        open.best = two.best;
        open.name = two.name;
        open.holder = g;
    } else if (two.best == open.best) {
        open.tie = true;
    }
    const float left = (nearest_left - open.upper) * down, met = distance(nearest);
    lower[g * range.lower_stride] = left < met ? left : met;
}

// Searches the nearest centres of open rows, group by group, so that its centres are in L1 for all
// of them. Rows that have two, or squares that are not ordinary, are listed in range.plain.
template <class T>
void search_rows(const Model<T>& model, const CentreBlocks<T>& blocks, RowRange<T>& range,
                 const std::int32_t* rows, std::int64_t n_rows) {
    const Certain certain{blocks.certain_slack, blocks.certain_reach, blocks.farthest};
    const std::int64_t D = model.n_features;
    std::int32_t numbers[tuning::search_batch];
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < n_rows; ++i) {
        const std::int32_t n = rows[i];
        T* row = range.row + 2 * D * count;
        OpenRow<T>& open = range.batch[count];
        const T norm = read_row(model, range, n, row);
        if (!(norm < ordinary_square<T>)) {
            range.plain[range.n_plain++] = n;
        } else if (!meet_own(model, blocks, range, n, row, norm, open)) {
            numbers[count++] = n;
        } else {
            range.upper[n] = open.upper;
            if (range.log_joint) range.log_joint[n] = open.best;
        }
    }
    for (std::int64_t g = 0; g < blocks.n_groups; ++g)
        for (std::int64_t i = 0; i < count; ++i) {
            OpenRow<T>& open = range.batch[i];
            const float lower = range.lower[g * range.lower_stride + numbers[i]];
            if (open.bounded && certain(open.upper, lower)) continue;
            meet_group(model, blocks, range, numbers[i], range.row + 2 * D * i, g, open);
        }
    for (std::int64_t i = 0; i < count; ++i) {
        const OpenRow<T>& open = range.batch[i];
        const std::int32_t n = numbers[i];
        if (open.tie) {
            range.plain[range.n_plain++] = n;
            continue;
        }
        range.label[n] = open.name;
        range.upper[n] = upper_distance(blocks, square_of(model, open.norm, open.best));
        if (range.log_joint) range.log_joint[n] = open.best;
    }
}

// See Kernels::search_step in table.h.
template <class T>
void search_step(const Model<T>& model, const CentreBlocks<T>& blocks, RowRange<T>& range) {
    // Where searching takes the first rows nearly as long as all distances, the others meet all
    // centres many rows at a time, and have no bounds until the first rows do better. All distances
    // take half the time that the same ones take one row at a time. New bounds cost a search of
    // everything, so more is asked of rows that have none.
    const std::int64_t D = model.n_features;
    const std::int64_t part = range.n_rows < 1024 ? 16 : range.n_rows / 64;
    const std::int64_t trial = part < tuning::search_batch ? part : tuning::search_batch;
    const bool without = !range.bounded || range.upper[range.n_rows - 1] == unbounded;
    const std::int64_t n_open = list_open_rows(blocks, range);
    range.n_plain = range.n_met = range.n_searched = 0;
    std::int64_t first = 0;
    while (first < n_open && range.open[first] < trial) ++first;
    search_rows(model, blocks, range, range.open, first);
    const std::int64_t cost = range.n_met * tuning::block_centres * (D + 5) +
                              range.n_searched * tuning::search_row_operations;
    if ((without ? 3 : 2) * cost > trial * blocks.n_blocks * tuning::block_centres * (D + 3)) {
        for (; first < n_open; ++first) range.plain[range.n_plain++] = range.open[first];
        return;
    }
    for (; first < n_open; first += tuning::search_batch)
        search_rows(model, blocks, range, range.open + first,
                    n_open - first < tuning::search_batch ? n_open - first : tuning::search_batch);
}

// Whether distances tell of all rows: they do not where they overflow.
template <class T>
bool nearest_by_distance(const Model<T>& model, Tile<T>& tile, T* label) {
    nearest_scores<T, true>(model, tile, label);
    using V = Lanes<T>;
    const V lowest = V::set(-static_cast<T>(runtime::infinity));
    unsigned overflowed = 0;
    for (std::int64_t i = 0; i < group_count(tile) * group_rows<T>; i += V::width)
        overflowed |= V::bits(equal(V::load(tile.row_max + i), lowest));
    return overflowed == 0;
}

// See Kernels::nearest_labels.
template <class T>
void nearest_labels(const Model<T>& model, Tile<T>& tile) {
    tile.sums = no_sums;
    if (!load_features(tile, model.n_features, model.origin, model.nearest)) return;
    T* label = tile.row_scale;
    bool found = true;
    if (model.nearest)
        nearest_scores<T, false>(model, tile, label);
    else if (model.form == Form::spherical && !tile.squares_overflow && !model.extreme)
        found = nearest_by_distance(model, tile, label);
    else
        found = false;
    if (found) {
        std::int32_t* const labels = tile.label;
        for (std::int64_t n = 0; n < tile.n_rows; ++n)
            labels[n] = static_cast<std::int32_t>(label[n]);
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
