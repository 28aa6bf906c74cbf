# Writes a C++ source with the text of every recipe. Run as a build step:
#   cmake -D FOLDER=... -D OUTPUT=... -P embed_recipes.cmake
file(GLOB recipes ${FOLDER}/*.toml)
list(SORT recipes)
set(entries "")
foreach(recipe IN LISTS recipes)
  get_filename_component(name ${recipe} NAME_WE)
  file(READ ${recipe} text)
  string(APPEND entries "      {\"${name}\", R\"toml(${text})toml\"},\n")
endforeach()
file(WRITE ${OUTPUT} "// From apps/recipes/*.toml.
#include \"apps/recipes.h\"

namespace zeroth::app {

std::span<const Recipe> recipes() {
  static const Recipe all[] = {
${entries}  };
  return all;
}

}  // namespace zeroth::app
")
