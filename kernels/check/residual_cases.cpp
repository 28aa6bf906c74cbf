#include <algorithm>
#include <cmath>

#include "kernels/check/cases.h"
#include "kernels/residual/residual.h"

namespace zeroth::check {

namespace {

constexpr ResidualForm kForms[] = {ResidualForm::plain, ResidualForm::post, ResidualForm::authors};

std::function<std::vector<Row>(DType)> rows_for(ResidualForm form, std::int64_t elements) {
  return [=](DType dtype) { return rows_taking(residual_rows(), ResidualParams{form, elements, dtype}); };
}

OperandSpec alpha_operand(const char* name, Role role = Role::input) {
  return {.name = name, .shape = {1}, .role = role, .kind = ElementKind::statistics};
}

enum class Alias : int { none = -1, first = 0, second = 1 };

KernelCase forward_case(ResidualForm form, std::int64_t elements, Alias alias) {
  return {.operation = "residual",
          .name = std::string("forward ") + name_of(form) + " " + std::to_string(elements) +
                  (alias == Alias::none    ? ""
                   : alias == Alias::first ? " over f"
                                           : " over the shortcut"),
          .operands = {{.name = "f", .shape = {elements}, .special = {0.0, -0.0, 1.0, 0.5}},
                       {.name = "shortcut", .shape = {elements}, .special = {0.0, 0.0, -1.0, 0.5}},
                       alpha_operand("alpha"),
                       {.name = "y",
                        .shape = {elements},
                        .role = Role::output,
                        .accuracy = {.roundings = 2.0, .magnitude = Magnitude::absolute},
                        .aliases = static_cast<int>(alias)}},
          .run =
              [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace) {
                const TensorView alpha = form == ResidualForm::plain ? TensorView() : v[2];
                residual_forward(context, {form, elements, dtype}, v[0], v[1], alpha, v[3]);
              },
          .rows = rows_for(form, elements),
          .flops = 3.0 * static_cast<double>(elements)};
}

struct Modes {
  GradMode df, dshortcut, dalpha;
};

/// `alias`: df (first) or dshortcut (second) lies where dy does.
KernelCase backward_case(ResidualForm form, std::int64_t elements, Modes modes, Alias alias) {
  const bool plain = form == ResidualForm::plain, authors = form == ResidualForm::authors;
  // The CPU adds 4096 elements in sixteen sums, which it then adds up; the reference goes one by one.
  const auto terms = static_cast<double>(elements);
  const double run = std::min(terms, 4096.0 / 16.0 + 16.0) + 4.0;
  const auto gradient = [&](const char* name, GradMode mode, Alias which) {
    return OperandSpec{.name = name,
                       .shape = {elements},
                       .role = role_of(mode),
                       .accuracy = {.roundings = 2.0, .magnitude = Magnitude::absolute},
                       .aliases = alias == which ? 0 : -1};
  };
  OperandSpec dalpha = alpha_operand("dalpha", plain ? Role::untouched : role_of(modes.dalpha));
  dalpha.accuracy = {.roundings = run, .magnitude = Magnitude::custom, .reference_roundings = terms + 4.0};
  return {.operation = "residual",
          .name = std::string("backward ") + name_of(form) + " " + std::to_string(elements) + ", df " +
                  name_of(modes.df) + ", dshortcut " + name_of(modes.dshortcut) + ", dalpha " +
                  name_of(modes.dalpha) + (alias == Alias::none ? "" : ", in place"),
          .operands = {{.name = "dy", .shape = {elements}},
                       {.name = "f", .shape = {elements}, .special = {0.0, -0.0, 1.0, 0.5}},
                       {.name = "y", .shape = {elements}, .low = -0.5, .special = {0.0, 1.0, 0.0, 1e-30}},
                       alpha_operand("alpha"),
                       gradient("df", modes.df, Alias::first),
                       gradient("dshortcut", modes.dshortcut, Alias::second),
                       dalpha},
          .run =
              [=](Context& context, DType dtype, std::span<const TensorView> v, Workspace workspace) {
                const TensorView none;  // what a form does not need may be absent
                residual_backward(context, {form, elements, dtype}, v[0], plain ? none : v[1],
                                  authors ? none : v[2], plain ? none : v[3], v[4], modes.df, v[5],
                                  modes.dshortcut, plain ? none : v[6], modes.dalpha, workspace);
              },
          .rows = rows_for(form, elements),
          .workspace =
              [=](Context& context, DType dtype) {
                return residual_workspace(context, {form, elements, dtype});
              },
          .magnitude =
              [](const Values& before, const Values& after) {
                Values result = after;
                double sum = before[6].empty() ? 0.0 : std::fabs(before[6][0]);
                for (std::size_t i = 0; i < before[0].size(); ++i)
                  sum += std::fabs(before[0][i] * before[1][i]);
                result[6] = {sum};
                return result;
              },
          .flops = 4.0 * static_cast<double>(elements)};
}

}  // namespace

std::vector<KernelCase> residual_cases() {
  constexpr GradMode skip = GradMode::skip, overwrite = GradMode::overwrite,
                     accumulate = GradMode::accumulate;
  std::vector<KernelCase> cases;
  for (const ResidualForm form : kForms) {
    // Around packs, blocks and the CPU's pieces of 4096; enough for several CPU threads.
    for (const std::int64_t elements : {0, 1, 3, 8, 17, 1025, 4097, 50003}) {
      cases.push_back(forward_case(form, elements, Alias::none));
      cases.push_back(backward_case(form, elements, {overwrite, overwrite, overwrite}, Alias::none));
      cases.push_back(backward_case(form, elements, {accumulate, accumulate, accumulate}, Alias::none));
    }
    for (const std::int64_t elements : {5, 1031}) {
      cases.push_back(forward_case(form, elements, Alias::first));
      cases.push_back(forward_case(form, elements, Alias::second));
      for (const Modes modes : {Modes{overwrite, overwrite, accumulate},
                                Modes{overwrite, accumulate, overwrite}, Modes{overwrite, skip, skip}})
        cases.push_back(backward_case(form, elements, modes, Alias::first));
      for (const Modes modes : {Modes{accumulate, overwrite, skip}, Modes{overwrite, overwrite, overwrite}})
        cases.push_back(backward_case(form, elements, modes, Alias::second));
      for (const Modes modes : {Modes{skip, skip, skip}, Modes{skip, skip, overwrite},
                                Modes{skip, accumulate, skip}, Modes{accumulate, skip, overwrite}})
        cases.push_back(backward_case(form, elements, modes, Alias::none));
    }
  }
  return cases;
}

}  // namespace zeroth::check
