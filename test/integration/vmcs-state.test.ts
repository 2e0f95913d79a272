/**
 * Exits save what has changed, entries load what may have been written: neither may be told from copying everything
 * (SDM Vol. 3C, "Saving Guest State", "Loading Guest State").
 */
import { describe, expect, test } from "vitest";
import { Machine, type LedgerEntry } from "../../index.ts";
import type { Vcpu } from "../../hypervisor/vcpu.ts";
import { VMCS_DIRTY_AT, VmcsField as F } from "../../layout/vmx.ts";
import { KERNEL, temporaryDisk } from "../support/cli.ts";

const SEGMENTS = [0, 1, 2, 3, 4, 5, 6, 7];

/** The guest state beyond RIP, RFLAGS and blocking, as the physical CPU's block has it and as the VMCS has it. */
function bothStates({ core, vmcs }: Vcpu): readonly [Record<string, bigint>, Record<string, bigint>] {
  const cpu = core.state;
  const block: Record<string, bigint> = {};
  const saved: Record<string, bigint> = {};
  const compare = (name: string, value: bigint, field: number): void => {
    block[name] = value;
    saved[name] = vmcs.readBig(field);
  };
  compare("CR0", cpu.cr0, F.GUEST_CR0);
  compare("CR3", cpu.cr3, F.GUEST_CR3);
  compare("CR4", cpu.cr4, F.GUEST_CR4);
  compare("EFER", cpu.efer, F.GUEST_EFER);
  compare("PAT", cpu.pat, F.GUEST_PAT);
  compare("DR7", cpu.dr[7]!, F.GUEST_DR7);
  compare("DEBUGCTL", cpu.debugCtl, F.GUEST_DEBUGCTL);
  compare("SYSENTER_CS", cpu.sysenterCs, F.GUEST_SYSENTER_CS);
  compare("SYSENTER_ESP", cpu.sysenterEsp, F.GUEST_SYSENTER_ESP);
  compare("SYSENTER_EIP", cpu.sysenterEip, F.GUEST_SYSENTER_EIP);
  compare("RSP", cpu.gpr[4]!, F.GUEST_RSP);
  compare("GDTR base", cpu.gdtrBase, F.GUEST_GDTR_BASE);
  compare("GDTR limit", cpu.gdtrLimit, F.GUEST_GDTR_LIMIT);
  compare("IDTR base", cpu.idtrBase, F.GUEST_IDTR_BASE);
  compare("IDTR limit", cpu.idtrLimit, F.GUEST_IDTR_LIMIT);
  for (const i of SEGMENTS) {
    compare(`selector ${i}`, cpu.segSelector[i]!, F.GUEST_ES_SELECTOR + 2 * i);
    compare(`base ${i}`, cpu.segBase[i]!, F.GUEST_ES_BASE + 2 * i);
    compare(`limit ${i}`, cpu.segLimit[i]!, F.GUEST_ES_LIMIT + 2 * i);
    compare(`rights ${i}`, cpu.segRights[i]!, F.GUEST_ES_ACCESS_RIGHTS + 2 * i);
  }
  for (const i of [0, 1, 2, 3]) compare(`PDPTE ${i}`, cpu.pdpte[i]!, F.GUEST_PDPTE0 + 2 * i);
  return [block, saved];
}

type Configuration = Pick<
  ConstructorParameters<typeof Machine>[0],
  "smp" | "path" | "completion" | "protocol"
>;

function run(
  configuration: Configuration,
  eachExit: (machine: Machine, entry: LedgerEntry) => void,
): { readonly machine: Machine; readonly exits: number } {
  const disk = temporaryDisk(1);
  const machine = new Machine({
    kernel: KERNEL,
    append: "script=selftest;smp:count=50;rand:dev=virtio,count=10;rand:dev=ide,count=3",
    memory: 32,
    ...configuration,
    drives: [
      { file: disk.path, interface: "virtio", snapshot: true },
      { file: disk.path, interface: "ide", snapshot: true },
    ],
  });
  let exits = 0;
  try {
    const result = machine.run({
      pauseAt: (entry) => {
        exits++;
        eachExit(machine, entry);
        return false;
      },
    });
    expect(result.end).toBe("power-off");
    return { machine, exits };
  } finally {
    machine.close();
    disk.remove();
  }
}

describe("guest state", () => {
  test.each<Configuration>([
    { smp: 1, path: "user", completion: "inject" },
    { smp: 2, path: "poll", completion: "eli" },
    { smp: 1, path: "in-vmm", completion: "inject", protocol: "multiboot" },
  ])("after every exit the VMCS has what the CPU's block has: %j", (configuration) => {
    const { exits } = run(configuration, (machine, entry) => {
      const [block, saved] = bothStates(machine.vm!.vcpus[entry.vcpu]!);
      for (const name of Object.keys(block))
        if (saved[name] !== block[name])
          throw new Error(
            `${entry.reason} at ${entry.rip.toString(16)}: ${name} is ${saved[name]}, not ${block[name]}`,
          );
    });
    expect(exits).toBeGreaterThan(1000);
  });

  test("entries that check and load everything give the same run, byte for byte", () => {
    const configuration: Configuration = { smp: 2, path: "user", completion: "inject" };
    const mark = (machine: Machine, value: number): void => {
      for (const { vmcs } of machine.vm!.vcpus)
        machine.memory.state.u32[(vmcs.offset + VMCS_DIRTY_AT) >>> 2] = value;
    };
    const trace =
      (into: string[], forgets: boolean) =>
      (machine: Machine, entry: LedgerEntry): void => {
        into.push(`${entry.time} ${entry.reason} ${entry.rip} ${entry.qualification} ${entry.vcpu}`);
        if (forgets) mark(machine, 1);
      };
    const kept: string[] = [];
    const loaded: string[] = [];
    const first = run(configuration, trace(kept, false)).machine;
    const second = run(configuration, trace(loaded, true)).machine;
    expect(loaded).toEqual(kept);
    for (const machine of [first, second]) mark(machine, 0);
    expect(second.hash()).toBe(first.hash());
    const skipped = (machine: Machine): bigint => machine.board.core(0).state.vmxEntryChecksSkipped;
    expect(skipped(first)).toBeGreaterThan(1000n);
    expect(skipped(second)).toBe(0n);
  });
});
