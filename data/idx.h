#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "data/dataset.h"

namespace zeroth {

/// Which set the files of MNIST's names directly in a folder belong to: "mnist" or "fashion-mnist" by the
/// checksum of a label file, else by the folder's name (those that fetch() and torchvision give), else "idx";
/// nothing where there are no such files.
std::optional<std::string> idx_set_in(const std::filesystem::path& folder);

/// Reads "mnist", "fashion-mnist" or, as "idx", any other set in MNIST's layout: train-images-idx3-ubyte,
/// train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each as it is or with .gz
/// (which comes first where both are there). The format: http://yann.lecun.com/exdb/mnist/, bytes only.
/// Pictures have one channel. "mnist" and "fashion-mnist" must be complete; "idx" may have any number of
/// pictures up to 1024 x 1024 and as many classes as its largest training label says. Errors: data, one line
/// that names the file, what is wrong (missing, not of the format, truncated, longer than its header says,
/// pictures and labels that do not match, a label out of range) and how to mend it.
Dataset read_idx(const std::filesystem::path& folder, const std::string& name);

}  // namespace zeroth
