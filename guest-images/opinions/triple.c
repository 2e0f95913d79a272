/* A triple fault: a double fault that cannot be delivered shuts the processor down. The machine must say so by itself. */
#include "runtime.h"

const char program_name[] = "triple";

void program_run(void) {
  print("EXPECT triple-fault\r\n");
  struct pointer nothing = {0, 0};
  __asm__ volatile("lidt %0; ud2" ::"m"(nothing));
  begin("triple-fault");
  check("behind", 1, 0);
  end();
}
