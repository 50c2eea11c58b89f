// The rows that a loop visits again and again, without going back to Python between two passes:
// what takes 20 us there is as long as a pass over some hundred rows.
#pragma once

#include <cstdint>
#include <vector>

#include "estep/nearest_bounds.h"
#include "estep/request.h"
#include "estep/row_block.h"
#include "estep/workspace.h"
#include "runtime/threads.h"

namespace vbfast::loops {

// All rows, and how their passes are blocked: `request` asks for no outputs.
struct LoopedRows {
    const std::vector<estep::RowBlock>& blocks;
    const estep::PassRequest& request;
    bool single;  // whether rows are float32
    estep::Workspace& workspace;
    int num_threads;
    const runtime::Interrupt* interrupt;
};

}  // namespace vbfast::loops
