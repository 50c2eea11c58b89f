// From log-joints to responsibilities, the terms of the bound, and the outputs of a chunk.
//
// In: chunk.joint with log-joints, (K, rows). Out: chunk.joint with weighted responsibilities, the
// sums of each tile, and per-row outputs.
//
// Error: exponentials and logarithms are the device's, good to two ulp; a row's sum of K
// exponentials is off by about K epsilon of itself at most. Entropy is not negative. Sums over rows
// are float64, over the threads of a block in a fixed tree.
//
// Blocking: a thread has a row, and reads its components one after the other, as all threads of a
// warp do: 128 bytes at a time. The log-joints of a chunk fit in half of L2 where there are few
// components. They are read twice, as exponentials take less time than memory that keeps them.
#include "cuda/posterior.h"

#include "cuda/block_sums.h"
#include "cuda/mathematics.h"

namespace vbfast::cuda {

namespace {

constexpr int warps = tile_rows / 32;

// The sums of a block's rows, one a thread.
__device__ void sum_rows(RowSums own, RowSums* out) {
    RowSums* of_warps = shared_memory<RowSums>();
    const int thread = static_cast<int>(threadIdx.x);
    own.weight = sum_of_warp(own.weight);
    own.log_evidence = sum_of_warp(own.log_evidence);
    own.expected_log_joint = sum_of_warp(own.expected_log_joint);
    own.entropy = sum_of_warp(own.entropy);
    own.kl = sum_of_warp(own.kl);
    own.lowest_log_evidence = least_of_warp(own.lowest_log_evidence);
    if (thread % 32 == 0) of_warps[thread / 32] = own;
    __syncthreads();
    if (thread > 0) return;
    for (int warp = 1; warp < warps; ++warp) add(of_warps[warp], own);
    *out = own;
}

__device__ constexpr RowSums no_rows = {0, 0, 0, 0, 0, HUGE_VAL};

// A thread's row.
template <class T>
struct OwnRow {
    __device__ explicit OwnRow(const Chunk<T>& chunk)
        : in_chunk(static_cast<std::int64_t>(blockIdx.x) * tile_rows + threadIdx.x) {
        joint = chunk.joint + in_chunk;
        const TileOfRows tile = chunk.tiles[blockIdx.x];
        there = static_cast<int>(threadIdx.x) < tile.n_rows;
        in_output = tile.output_row + threadIdx.x;
        weight = there ? (chunk.weights ? chunk.weights[in_chunk] : 1.0) : 0.0;
    }

    __device__ void report(const ImpossibleRows& impossible) const {
        if (impossible.count) impossible.rows[atomicAdd(impossible.count, 1ull)] = in_output;
    }

    bool there;  // the last tile of a partition may have fewer rows
    std::int64_t in_chunk, in_output;
    double weight;
    T* joint;
};

template <class T>
__global__ void __launch_bounds__(tile_rows)
    posterior(Chunk<T> chunk, int n_components, PosteriorRequest<T> request) {
    const OwnRow<T> row(chunk);
    RowSums own = no_rows;
    const ChunkOutputs<T>& out = request.outputs;
    const std::int64_t stride = chunk.joint_stride, first = row.in_chunk * n_components;
    LogSumExp<T> terms;
    if (row.there) {
        for (int k = 0; k < n_components; ++k) {
            const T l = row.joint[k * stride];
            terms.add(l, k);
            if (out.log_joint) out.log_joint[first + k] = l;
        }
        if (terms.impossible()) row.report(request.impossible);
        const T evidence = terms.log_evidence(), entropy = terms.entropy();
        if (out.log_evidence) out.log_evidence[row.in_chunk] = evidence;
        if (out.labels) out.labels[row.in_chunk] = terms.label;
        if (out.entropy) out.entropy[row.in_chunk] = entropy;
        if (out.expected_log_joint) out.expected_log_joint[row.in_chunk] = evidence - entropy;
        own.weight = row.weight;
        if (row.weight > 0) {
            own.log_evidence = row.weight * static_cast<double>(evidence);
            own.entropy = row.weight * static_cast<double>(entropy);
            own.lowest_log_evidence = static_cast<double>(evidence);
        }
    }
    if (request.summed || out.resp) {
        const T weight = request.unweighted ? T(1) : static_cast<T>(row.weight);
        for (int k = 0; k < n_components; ++k) {
            const T q = row.there && !terms.impossible()
                            ? terms.responsibility(row.joint[k * stride])
                            : T(0);
            if (row.there && out.resp) out.resp[first + k] = q;
            row.joint[k * stride] = q * weight;
        }
    }
    sum_rows(own, request.tile_sums + blockIdx.x);
}

// The terms of a row whose responsibilities need not be the posterior, in float64. Its mass may be
// on one component, or on none (-1).
template <class T>
__device__ RowSums assigned_terms(const OwnRow<T>& row, std::int64_t stride, int n_components,
                                  const PosteriorRequest<T>& request,
                                  const LogSumExp<double>& terms, int label) {
    const ChunkOutputs<T>& out = request.outputs;
    const bool evidence_wanted = request.entropy || out.log_evidence;
    const double evidence = evidence_wanted ? terms.log_evidence() : terms.largest;
    double entropy = 0, expected = 0, kl = 0;
    const auto add = [&](int k, double p) {
        if (!(p > 0)) return;
        const double l = static_cast<double>(row.joint[k * stride]);
        expected += p * l;
        if (!evidence_wanted && !out.entropy) return;
        const double log_p = std::log(p);
        entropy -= p * log_p;
        kl += p * (log_p - (l - evidence));
    };
    if (request.given)
        for (int k = 0; k < n_components; ++k)
            add(k, static_cast<double>(request.given[row.in_chunk * n_components + k]));
    else if (label >= 0)
        add(label, 1.0);
    if (terms.impossible()) {
        expected = -infinite<double>();
        entropy = kl = 0;
    }
    if (entropy < 0) entropy = 0;
    if (kl < 0) kl = 0;
    if (out.log_evidence) out.log_evidence[row.in_chunk] = static_cast<T>(evidence);
    if (out.entropy) out.entropy[row.in_chunk] = static_cast<T>(entropy);
    if (out.expected_log_joint) out.expected_log_joint[row.in_chunk] = static_cast<T>(expected);
    const double w = row.weight;
    if (w == 0) return no_rows;
    return {w, w * evidence, w * expected, w * entropy, w * kl, evidence};
}

template <class T>
__global__ void __launch_bounds__(tile_rows)
    assigned(Chunk<T> chunk, int n_components, PosteriorRequest<T> request) {
    const OwnRow<T> row(chunk);
    RowSums own = no_rows;
    const ChunkOutputs<T>& out = request.outputs;
    const std::int64_t stride = chunk.joint_stride;
    int label = -1;
    if (row.there) {
        LogSumExp<double> terms;
        const bool exponentials = request.entropy || out.log_evidence;
        for (int k = 0; k < n_components; ++k) {
            const double l = static_cast<double>(row.joint[k * stride]);
            if (exponentials)
                terms.add(l, k);
            else if (l > terms.largest) {
                terms.largest = l;
                terms.label = k;
                terms.sum = 1;
            }
        }
        if (terms.impossible()) row.report(request.impossible);
        if (out.labels) out.labels[row.in_chunk] = terms.label;
        label = terms.impossible() ? -1 : terms.label;
        if (request.given_labels) label = static_cast<int>(request.given_labels[row.in_chunk]);
        own = assigned_terms(row, stride, n_components, request, terms, label);
    }
    if (request.summed || out.resp) {
        const T weight = static_cast<T>(row.weight);
        for (int k = 0; k < n_components; ++k) {
            T q = k == label ? T(1) : T(0);
            if (request.given && row.there) q = request.given[row.in_chunk * n_components + k];
            if (row.there && out.resp) out.resp[row.in_chunk * n_components + k] = q;
            row.joint[k * stride] = q * weight;
        }
    }
    sum_rows(own, request.tile_sums + blockIdx.x);
}

template <class T>
__global__ void __launch_bounds__(tile_rows) multiply_by_weights(Chunk<T> chunk) {
    const OwnRow<T> row(chunk);
    row.joint[blockIdx.y * chunk.joint_stride] *= static_cast<T>(row.weight);
}

__global__ void sum_tiles(const Range* ranges, int n_ranges, const RowSums* tile_sums,
                          RowSums* sums) {
    const int own = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (own >= n_ranges) return;
    const Range range = ranges[own];
    RowSums sum = sums[range.partition];
    for (int tile = range.first_tile; tile < range.last_tile; ++tile) add(tile_sums[tile], sum);
    sums[range.partition] = sum;
}

}  // namespace

template <class T>
void find_responsibilities(const Chunk<T>& chunk, int n_components,
                           const PosteriorRequest<T>& request, cudaStream_t stream) {
    const auto kernel = request.assignment == Assignment::posterior ? posterior<T> : assigned<T>;
    launch(kernel, dim3(chunk.n_tiles), dim3(tile_rows), warps * sizeof(RowSums), stream, chunk,
           n_components, request);
}

template <class T>
void weigh(const Chunk<T>& chunk, int n_components, cudaStream_t stream) {
    for (int first = 0; first < n_components; first += 65535) {
        Chunk<T> part = chunk;
        part.joint += first * chunk.joint_stride;
        const int n = n_components - first < 65535 ? n_components - first : 65535;
        launch(multiply_by_weights<T>, dim3(chunk.n_tiles, n), dim3(tile_rows), 0, stream, part);
    }
}

void add_tile_sums(const Range* ranges, int n_ranges, const RowSums* tile_sums, RowSums* sums,
                   cudaStream_t stream) {
    launch(sum_tiles, dim3((n_ranges + 63) / 64), dim3(64), 0, stream, ranges, n_ranges, tile_sums,
           sums);
}

template void find_responsibilities(const Chunk<float>&, int, const PosteriorRequest<float>&,
                                    cudaStream_t);
template void find_responsibilities(const Chunk<double>&, int, const PosteriorRequest<double>&,
                                    cudaStream_t);
template void weigh(const Chunk<float>&, int, cudaStream_t);
template void weigh(const Chunk<double>&, int, cudaStream_t);

}  // namespace vbfast::cuda
