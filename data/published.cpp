#include "data/published.h"

#include <fcntl.h>

#include <algorithm>

#include "data/files.h"

namespace zeroth {

const std::vector<PublishedSet>& published_sets() {
  // MD5 sums: torchvision (torchvision/datasets/mnist.py and svhn.py); Fashion-MNIST's authors give the same
  // ones in their README. Sizes: TensorFlow Datasets (url_checksums/mnist.txt, fashion_mnist.txt,
  // svhn_cropped.txt).
  constexpr DigestKind md5 = DigestKind::md5;
  static const PublishedFile svhn_train = {"train_32x32.mat", 182'040'794, md5,
                                           "e26dedcc434d2e4c54c9b2d4a06d8373"};
  static const PublishedFile svhn_test = {"test_32x32.mat", 64'275'384, md5,
                                          "eb5a983be6a315427106f1b164d9cef3"};
  static const PublishedFile svhn_extra = {"extra_32x32.mat", 1'329'278'602, md5,
                                           "a93ce644f1a588dc4d68dda5feec44a7"};
  static const std::string svhn_url = "http://ufldl.stanford.edu/housenumbers/";
  static const std::vector<PublishedSet> sets = {
      {"mnist",
       "mnist",
       "https://ossci-datasets.s3.amazonaws.com/mnist/",
       {{"train-images-idx3-ubyte.gz", 9'912'422, md5, "f68b3c2dcbeaaa9fbdd348bbdeb94873"},
        {"train-labels-idx1-ubyte.gz", 28'881, md5, "d53e105ee54ea40749a09fcbcd1e9432"},
        {"t10k-images-idx3-ubyte.gz", 1'648'877, md5, "9fb629c4189551a2d022fa330f9573f3"},
        {"t10k-labels-idx1-ubyte.gz", 4'542, md5, "ec29112dd5afa0611ce80d1b7f02629c"}}},
      {"fashion-mnist",
       "fashion-mnist",
       "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
       {{"train-images-idx3-ubyte.gz", 26'421'880, md5, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"},
        {"train-labels-idx1-ubyte.gz", 29'515, md5, "25c81989df183df01b3e8a0aad5dffbe"},
        {"t10k-images-idx3-ubyte.gz", 4'422'102, md5, "bef4ecab320f06d8554ea6380940ec79"},
        {"t10k-labels-idx1-ubyte.gz", 5'148, md5, "bb300cfdad3c16e7a12a480ee83cd310"}}},
      {"svhn", "svhn", svhn_url, {svhn_train, svhn_test}},
      {"svhn-extra", "svhn-extra", svhn_url, {svhn_train, svhn_test, svhn_extra}}};
  return sets;
}

const PublishedSet* published_set(const std::string& name) {
  for (const PublishedSet& set : published_sets()) {
    if (set.name == name) return &set;
  }
  return nullptr;
}

bool is_published(const std::filesystem::path& path, const PublishedFile& file) {
  return OpenFile(path, O_RDONLY).size() == file.bytes && digest_of_file(file.digest, path) == file.checksum;
}

bool are_published(const std::filesystem::path& folder, const std::vector<PublishedFile>& files) {
  return std::all_of(files.begin(), files.end(), [&](const PublishedFile& file) {
    return file_exists(folder / file.name) && is_published(folder / file.name, file);
  });
}

}  // namespace zeroth
