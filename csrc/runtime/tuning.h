// The numbers of the native backend that measurement chose, but for two kinds: the register blocks
// of an instruction set stand beside its lanes (csrc/simd), the rows of tiles and partitions in
// src/vbfast/backends/native/blocking.py. Numbers that accuracy chose stand where they are used.
//
// "Measured" is what other values take, from the least to the most of the calls and both dtypes
// that bench/tuning.py names: `python bench/tuning.py`, on an Intel Xeon (family 6, model 85, 2
// GHz, 1 MB of L2) with AVX-512, two threads, 30 November 2026. Repeated, ratios differ by up to
// 0.05. Where no value is best for all calls, the number is a compromise, or right for processors
// of less cache.
#pragma once

#include <cstdint>

namespace vbfast::tuning {

// Caches. Processors with AVX-512 have 32 KB of L1 and 512 KB of L2 at the least.

// Parameters of components that all groups of a tile visit before the next ones are fetched.
constexpr std::int64_t half_of_l2 = 256 << 10;
// Measured: 128 << 10 takes 0.90 to 1.09; 512 << 10 takes 0.87 to 1.06 of the time.
// What stays in L1 beside two others: the parameters of some components, or the mixed numbers of a
// gradient until they meet the row.
constexpr std::int64_t third_of_l1 = 12 << 10;
// Measured: 6 << 10 takes 0.89 to 1.10; 24 << 10 takes 0.81 to 1.16 of the time.
// The log-joint of the groups that visit the same components.
constexpr std::int64_t visited_joint = 64 << 10;
// Measured: 32 << 10 takes 0.99 to 1.01; 128 << 10 takes 0.95 to 1.01 of the time.
// Features of rows, of which each component takes a weighted sum: most of L1.
constexpr std::int64_t dense_panel = 24 << 10;
// Measured: 12 << 10 takes 0.85 to 1.03; 40 << 10 takes 0.96 to 1.10 of the time.
// Rows that a component has gathered, of which it takes the outer products: L1, and some of L2.
constexpr std::int64_t gathered_panel = 40 << 10;
// Measured: 20 << 10 takes 1.01 to 1.04; 80 << 10 takes 0.97 to 1.00 of the time.
// Features of a group of rows that meet the parameters of a linear form. They take half of L1 with
// AVX-512.
constexpr std::int64_t linear_features = 64;
// Measured: 32 takes 1.01 to 1.03; 128 takes 0.99 to 1.10 of the time.

// The E-step.

// Up to this many features, the dense product beats gathered rows for full second moments.
constexpr std::int64_t largest_dense_full = 24;
// Measured: 16 takes 0.99 to 2.74; 32 takes 0.56 to 1.07 of the time.
// With so many, all components gather their rows in tiles of which only a small share of the
// responsibilities counts: so many thousandths for each feature above the smallest number, and more
// for few components, as the panel of the dense product takes as long as so many of them.
constexpr std::int64_t smallest_sparse = 10;
// Measured: 6 takes 0.99 to 1.05; 14 takes 0.98 to 1.21 of the time.
constexpr std::int64_t sparse_per_mille = 25;
// Measured: 12 takes 0.97 to 1.07; 50 takes 0.98 to 1.02 of the time with 16 components or more.
constexpr std::int64_t panel_components = 4;
// Measured: 0 takes 1.00 to 1.51; 8 takes 0.91 to 1.25 of the time.
// Up to this many components, products of features are made in registers and not for a panel, which
// would meet too few components; where squares are among few products, up to twice as many.
constexpr std::int64_t few_components = 6;
constexpr std::int64_t few_diagonal_components = 12;
constexpr std::int64_t smallest_direct_diagonal = 4;  // features from which on that is so
// Measured by bench/kernel_parts.py, on an Intel Xeon (family 6, model 207), AVX2 and AVX-512: with
// two to six components a panel takes 0.9 to 4.1 times as long, of one feature with five or six
// 0.77 to 1.15 times; with ten diagonal ones 1.05 to 1.4 times.

// Up to this many features, that beats gathered rows for full second moments.
constexpr std::int64_t largest_direct_full = 40;
// Measured there: 0.61 to 0.90 at 30 features, 0.88 to 0.96 at 48.
// Up to this many features, the scatter of all rows is summed with rows in lanes.
constexpr std::int64_t largest_scatter_in_lanes = 48;
// Measured there: gathered rows take 1.1 to 2.8 times as long at 30 and 48 features, 0.9 to 1.2 at
// 65.
// From this many features on, gathered rows may beat mixed precisions in a gradient.
constexpr std::int64_t smallest_gathered_gradient = 25;
// Measured: 17 takes 1.00 to 1.01; 41 takes 1.00 of the time.
// Truncated posteriors. Rows of a task of the search at least, and at most.
constexpr std::int64_t search_rows = 512;
constexpr std::int64_t most_search_rows = 4096;
// Second moments that components share, of all tasks that sum them.
constexpr std::int64_t most_pooled_doubles = 8 << 20;
// From this many features on, a gradient keeps whitened rows if those of a tile take at most that
// many bytes: to write and read them costs less than to whiten a row again, also where they leave
// L2.
constexpr std::int64_t smallest_kept = 96;
// Measured: 128 takes 1.43 to 1.54 at 96 features and 4 components, 0.92 to 1.01 at 16; of fewer
//   features, rows that are kept take 0.76 to 1.38.
constexpr std::int64_t largest_kept = 4 << 20;
// Measured: 1 << 20 takes 1.09 to 1.32; 16 << 20 takes 0.96 to 1.07 of the time.
// Numbers of a factor that a group has yet to meet, from which on it is asked whether it can leave
// early: the answer costs little beside them.
constexpr std::int64_t early_exit_factor = 256;
// Measured: 64 takes 0.98 to 1.04; 1024 takes 0.92 to 1.03 of the time.
// Rows of no more features are added up by a loop of known length: they are too short for another.
constexpr int unrolled_features = 7;
// Measured: with 4, six features take 1.37 to 1.39; with 8, eight take 0.95 to 1.08.

// The search for the nearest centre.

// Bounds are used from this many centres, rows a centre, features and operations in lanes a row on.
// Below, all distances are computed sooner than some are left out.
constexpr std::int64_t fewest_centres = 32;
constexpr std::int64_t fewest_rows_a_centre = 64;
constexpr std::int64_t fewest_features = 12;
// Measured: 8 takes 0.99 to 1.10; 24 takes 0.91 to 1.03 of the time.
constexpr std::int64_t fewest_operations = 500;
// Measured: 250 takes 0.94 to 1.04; 1000 takes 0.98 to 1.05 of the time.
// Centres that lie beside each other in lanes, for one row at a time: a vector of AVX-512.
constexpr int block_centres = 16;
// Groups of blocks that rows have a bound each of: 56 bytes a row, with label and upper bound.
constexpr int most_groups = 12;
// Measured: 6 takes 0.96 to 1.11 of the time.
// The most rows that are searched together.
constexpr int search_batch = 256;
// Measured: 128 takes 1.00 to 1.06; 512 takes 0.96 to 1.03 of the time.
// A row that is searched takes as long as this many multiplications, besides its distances.
constexpr std::int64_t search_row_operations = 1500;
// Measured: 750 takes 0.95 to 1.04; 3000 takes 0.90 to 1.05 of the time.
// The rows, labels and bounds of a task.
constexpr std::int64_t search_range = 256 << 10;
// Measured: 128 << 10 takes 0.99 to 1.06; 512 << 10 takes 0.97 to 1.06 of the time.

// Array functions.

constexpr std::int64_t row_chunk = 2048;  // the longest row of one call, in elements
// Measured: 1024 takes 0.99 to 1.05; 4096 takes 0.99 to 1.03 of the time.
constexpr std::int64_t column_width = 256;  // the most slices of one call, a multiple of 16
// Measured: 128 takes 1.13 to 1.19; 512 takes 0.99 to 1.06 of the time.
constexpr std::int64_t column_chunk = 64;  // the most elements of each, summed in their own type
// Measured: 32 takes 1.04 to 1.06; 128 takes 0.97 to 1.08 of the time.
// Slices of no more elements lie across lanes, several of them at a time.
constexpr std::int64_t short_slice = 16;
constexpr std::int64_t block_elements = 1 << 15;  // of a block of rows, about
// Measured: 1 << 14 takes 1.01 to 1.03; 1 << 16 takes 0.99 to 1.08 of the time.
// Outputs from that size on stay in no cache, and are stored past them.
constexpr std::int64_t non_temporal_bytes = 1 << 24;
// Measured: 1 << 22 takes 0.98 to 1.03; 1ll << 40 takes 0.83 to 0.92 of the time.

// Threads. An operation takes about a tenth of a nanosecond.

// The fewest operations of a thread, some 50 us. Waking a thread takes the caller 8 us, and 50 pass
// before it works: where two have half as much each, passes take up to 1.7 times as long as on one.
constexpr std::int64_t thread_operations = 1 << 19;
// Measured: 1 << 18 takes 0.94 to 1.01; 1 << 20 takes 0.95 to 1.01 of the time.
constexpr std::int64_t element_operations = 4;   // an exponential in lanes, at the least
constexpr std::int64_t gamma_operations = 2000;  // a difference of log-gammas, or a psi
// The fewest partitions for each thread: tests/backends/test_balance.py has what they leave of it
// busy.
constexpr std::int64_t partitions_a_thread = 8;
// Measured: 2 takes 0.98 to 1.07; 32 takes 0.92 to 1.06 of the time.
// Normal draws of a task, some hundred microseconds of few features.
constexpr std::int64_t task_draws = 1 << 14;
// Measured: 1 << 13 takes 1.00; 1 << 16 takes 1.01 of the time.
// Numbers of scratch of the matrices whose gradients are made at a time, or of one matrix.
constexpr std::int64_t gradient_scratch = 1 << 20;
// Measured: 1 << 18 takes 1.08 to 1.12; 1 << 22 takes 0.98 to 1.01 of the time.

// Interrupts: what is done between two looks for signals, some milliseconds.

constexpr std::int64_t interrupt_operations = 1 << 24;
constexpr std::int64_t interrupt_distances = 1 << 27;  // multiplications of a search
constexpr std::int64_t interrupt_elements = 1 << 18;   // of array functions

}  // namespace vbfast::tuning
