// The kernels of the linear algebra, of one level, over lanes that the target includes first.

// In the order of their dependence, not of the alphabet.
// clang-format off
#include "kernels/count-inl.h"
#include "kernels/linalg/column_blocks-inl.h"
#include "kernels/linalg/matrices-inl.h"
#include "kernels/linalg/gradients-inl.h"
#include "kernels/linalg/draws-inl.h"
// clang-format on

constexpr Kernels level_kernels = {
    matrix_columns, factor_block,    invert_block, ratio_block,    square_block, subtract_symmetric,
    average_moved,  transpose_block, whiten_block, unwhiten_block, draw_block};
