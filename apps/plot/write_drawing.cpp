#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>

#include "apps/plot/drawing.h"
#include "engine/atomic_file.h"
#include "kernels/core/error.h"

namespace zeroth::plot {

std::string to_png(const Drawing& drawing, double scale) {
  const Raster raster = rasterise(drawing, scale);
  std::string file;
  const auto append = [](void* context, void* data, int size) {
    static_cast<std::string*>(context)->append(static_cast<const char*>(data),
                                               static_cast<std::size_t>(size));
  };
  const int written = stbi_write_png_to_func(append, &file, raster.width, raster.height, 3, raster.rgb.data(),
                                             3 * raster.width);
  if (written == 0) fail(ErrorKind::runtime, "the picture is too large to be written as PNG");
  return file;
}

void check_drawing_path(const std::string& path) {
  if (!path.ends_with(".png") && !path.ends_with(".svg"))
    fail(ErrorKind::usage, "a chart is written as .png or .svg, which '" + path + "' does not end in");
}

void write_drawing(const Drawing& drawing, const std::string& path) {
  check_drawing_path(path);
  replace_file(path, path.ends_with(".png") ? to_png(drawing) : to_svg(drawing));
}

}  // namespace zeroth::plot
