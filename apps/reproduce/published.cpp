#include "apps/reproduce/published.h"

namespace zeroth::app {

namespace {

const Published kPublished[] = {
    // The table in the README of github.com/fabio-deep/ReZero-ResNet: one seed each.
    {kReZeroTable, "resnet20", 398, 7.63, 7.98, "1h10m"},
    {kReZeroTable, "resnet56", 281, 6.04, 6.44, "2h07m"},
    {kReZeroTable, "resnet110", 313, 6.00, 6.39, "4h00m"},
    {kReZeroTable, "rezero-resnet20", 327, 7.44, 7.94, "1h03m"},
    {kReZeroTable, "rezero-resnet56", 303, 6.31, 6.55, "2h14m"},
    {kReZeroTable, "rezero-resnet110", 410, 5.84, 5.88, "5h01m"},
    // The README of ColossalAI's examples/images/resnet gives accuracies: 85.85, 84.91, 85.46, 84.50, 84.60.
    {kColossalAi, "single", 80, {}, 14.15, ""},
    {kColossalAi, "torch_ddp", 80, {}, 15.09, ""},
    {kColossalAi, "torch_ddp_fp16", 80, {}, 14.54, ""},
    {kColossalAi, "low_level_zero", 80, {}, 15.50, ""},
    {kColossalAi, "gemini", 80, {}, 15.40, ""},
    // He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015, table 6; of ResNet-110 the
    // best of five runs (mean 6.61, deviation 0.16).
    {kResNetPaper, "resnet20", {}, {}, 8.75, ""},
    {kResNetPaper, "resnet32", {}, {}, 7.51, ""},
    {kResNetPaper, "resnet44", {}, {}, 7.17, ""},
    {kResNetPaper, "resnet56", {}, {}, 6.97, ""},
    {kResNetPaper, "resnet110", {}, {}, 6.43, ""},
};

}  // namespace

const Published* find_published(const std::string& source, const std::string& row) {
  for (const Published& published : kPublished)
    if (published.source == source && published.row == row) return &published;
  return nullptr;
}

}  // namespace zeroth::app
