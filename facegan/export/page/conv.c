// The convolution of facegan's page: 3x3, on maps whose channels lie innermost. Built by hand with
//
//     pip install ziglang
//     python -m ziglang cc --target=wasm32-freestanding -O3 -msimd128 -nostdlib \
//         -Wl,--no-entry -Wl,--import-memory -Wl,--strip-all -Wl,-z,stack-size=0 -o conv.wasm conv.c

typedef float four __attribute__((vector_size(16), aligned(4)));

// in: (height + 2, width + 2, channels), with a border of zeros. weights: (outs / 8, 3, 3, channels, 8).
// out: (height, width, outs). `width` is a multiple of 4, `channels` and `outs` of 8.
//
// Four pixels and eight of their channels are summed at a time: eight registers of sums, for which each weight is read
// once for four pixels and each number of the map once for eight channels.
__attribute__((export_name("conv")))
void conv(const float *in, const float *weights, float *out, int height, int width, int channels, int outs) {
  for (int block = 0; block < outs; block += 8, weights += 72 * channels)
    for (int y = 0; y < height; y++)
      for (int x = 0; x < width; x += 4) {
        four sum[4][2] = {};
        const float *w = weights;
        for (int ky = 0; ky < 3; ky++) {
          const float *p = in + ((y + ky) * (width + 2) + x) * channels;
          const float *p1 = p + channels, *p2 = p1 + channels, *p3 = p2 + channels;
          #pragma clang loop unroll_count(4)
          for (int i = 0; i < 3 * channels; i++, w += 8) {
            four w0 = *(const four *)w, w1 = *(const four *)(w + 4);
            sum[0][0] += p[i] * w0;
            sum[0][1] += p[i] * w1;
            sum[1][0] += p1[i] * w0;
            sum[1][1] += p1[i] * w1;
            sum[2][0] += p2[i] * w0;
            sum[2][1] += p2[i] * w1;
            sum[3][0] += p3[i] * w0;
            sum[3][1] += p3[i] * w1;
          }
        }
        float *to = out + (y * width + x) * outs + block;
        for (int n = 0; n < 4; n++, to += outs) {
          *(four *)to = sum[n][0];
          *(four *)(to + 4) = sum[n][1];
        }
      }
}
