/** The sixteen conditions of Jcc, SETcc and CMOVcc, by their encoding. */
import { Flags } from "../state/flags";

export class Condition {
  @inline static c0(): bool {
    return Flags.of() != 0;
  }
  @inline static c1(): bool {
    return Flags.of() == 0;
  }
  @inline static c2(): bool {
    return Flags.cf() != 0;
  }
  @inline static c3(): bool {
    return Flags.cf() == 0;
  }
  @inline static c4(): bool {
    return Flags.zf();
  }
  @inline static c5(): bool {
    return !Flags.zf();
  }
  @inline static c6(): bool {
    return Flags.cf() != 0 || Flags.zf();
  }
  @inline static c7(): bool {
    return Flags.cf() == 0 && !Flags.zf();
  }
  @inline static c8(): bool {
    return Flags.sf() != 0;
  }
  @inline static c9(): bool {
    return Flags.sf() == 0;
  }
  @inline static c10(): bool {
    return Flags.pf() != 0;
  }
  @inline static c11(): bool {
    return Flags.pf() == 0;
  }
  @inline static c12(): bool {
    return Flags.sf() != Flags.of();
  }
  @inline static c13(): bool {
    return Flags.sf() == Flags.of();
  }
  @inline static c14(): bool {
    return Flags.zf() || Flags.sf() != Flags.of();
  }
  @inline static c15(): bool {
    return !Flags.zf() && Flags.sf() == Flags.of();
  }
}
