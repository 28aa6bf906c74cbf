# Writes a C++ source with the bytes of a font. Run as a build step:
#   cmake -D FONT=... -D OUTPUT=... -P embed_font.cmake
file(READ ${FONT} bytes HEX)
string(LENGTH "${bytes}" digits)
math(EXPR size "${digits} / 2")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" bytes "${bytes}")
# Lines of some length: a string literal of three million characters on one is hard on tools.
string(REPEAT "[^\n]" 256 line)
string(REGEX REPLACE "(${line})" "\\1\"\n    \"" bytes "${bytes}")
file(WRITE ${OUTPUT} "// From ${FONT}.
#include \"apps/plot/embedded_font.h\"

namespace zeroth::plot {

const char kEmbeddedFont[] =
    \"${bytes}\";
const std::size_t kEmbeddedFontBytes = ${size};

}  // namespace zeroth::plot
")
