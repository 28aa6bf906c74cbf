#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace zeroth {

/// One file of a set in the CIFAR binary layout: records of label bytes and 3,072 pixel bytes, planes R, G,
/// B, rows from the top. (https://www.cs.toronto.edu/~kriz/cifar.html, "binary version".)
struct CifarFile {
  std::string name;
  std::int64_t records;
  std::string sha256;  ///< published checksum; empty where there is none
};

/// What distinguishes CIFAR-10, CIFAR-100 and the generated set on disk.
struct CifarLayout {
  std::string name;    ///< as in Dataset
  std::string folder;  ///< what the official archive calls its folder
  int classes;
  int label_bytes;  ///< the last one counts: CIFAR-100 puts the coarse label before the fine one
  std::vector<CifarFile> train;
  CifarFile test;
  std::string names_file;  ///< one class name a line

  std::int64_t record_bytes() const { return label_bytes + 3072; }
};

/// The layout of "cifar10" or "cifar100". Errors: usage, for another name.
const CifarLayout& cifar_layout(const std::string& name);

/// Which set the files directly in a folder belong to, judged by their names (and, between CIFAR-10 and the
/// generated set, by the class names): nothing where there is none of them. Reads no pictures.
std::optional<std::string> cifar_set_in(const std::filesystem::path& folder);

/// Reads "cifar10", "cifar100" or a generated set from the folder that holds its files. The files of a
/// generated set may have any number of whole records, those of the others must be complete. Errors: data,
/// one line that names the file, what is wrong (missing, unreadable, a wrong size, record and label out of
/// range) and how to mend it.
Dataset read_cifar(const std::filesystem::path& folder, const std::string& name);

/// Writes a set of 32 x 32 colour pictures in CIFAR-10's binary layout: five training files with a fifth
/// each, a test file, the class names. The folder appears only when complete. Errors: usage, for a set this
/// layout cannot hold; data, where the folder exists and is not empty or cannot be made; runtime, for a full
/// disk.
void write_cifar10_layout(const Dataset& set, const std::filesystem::path& folder);

}  // namespace zeroth
