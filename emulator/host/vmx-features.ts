/**
 * What a processor's VMX can do beyond the least that every one has: features by QEMU's names, which model has which, and the
 * capability MSRs that they come to. SDM Vol. 3D, "VMX Capability Reporting Facility".
 */
import {
  EntryControl,
  EptCapability,
  ExitControl,
  MISC_BASE,
  Misc,
  MustBe1,
  Pin,
  Primary,
  Secondary,
  VpidCapability,
} from "../../layout/vmx.ts";

/** Allowed 1-settings of the controls, and the other capability MSRs, as the core wants them. */
export interface VmxCapabilities {
  readonly pin: number;
  readonly primary: number;
  readonly secondary: number;
  readonly exit: number;
  readonly entry: number;
  readonly ept: number;
  readonly vpid: number;
  readonly misc: number;
  readonly functions: number;
}
type Word = keyof VmxCapabilities;

interface VmxFeature {
  readonly word: Word;
  readonly bits: number;
  /** Features without which this one is not there. */
  readonly needs: readonly string[];
}

const feature = (word: Word, bits: number, needs = ""): VmxFeature => ({
  word,
  bits,
  needs: needs.split(" ").filter((name) => name !== ""),
});

export const VMX_FEATURES: Readonly<Record<string, VmxFeature>> = {
  "vmx-preemption-timer": feature("pin", Pin.PREEMPTION_TIMER),
  "vmx-posted-intr": feature("pin", Pin.PROCESS_POSTED_INTERRUPTS, "vmx-apicv-vid"),
  "vmx-vtpr": feature("primary", Primary.USE_TPR_SHADOW),
  "vmx-mtf": feature("primary", Primary.MONITOR_TRAP_FLAG),
  "vmx-secondary-ctls": feature("primary", Primary.SECONDARY_CONTROLS),
  "vmx-apicv-xapic": feature("secondary", Secondary.VIRTUALIZE_APIC_ACCESSES, "vmx-secondary-ctls"),
  "vmx-ept": feature("secondary", Secondary.ENABLE_EPT, "vmx-secondary-ctls vmx-page-walk-4 vmx-invept"),
  "vmx-desc-exit": feature("secondary", Secondary.DESCRIPTOR_TABLE_EXITING, "vmx-secondary-ctls"),
  "vmx-rdtscp-exit": feature("secondary", Secondary.ENABLE_RDTSCP, "vmx-secondary-ctls"),
  "vmx-apicv-x2apic": feature("secondary", Secondary.VIRTUALIZE_X2APIC_MODE, "vmx-secondary-ctls vmx-vtpr"),
  "vmx-vpid": feature("secondary", Secondary.ENABLE_VPID, "vmx-secondary-ctls vmx-invvpid"),
  "vmx-wbinvd-exit": feature("secondary", Secondary.WBINVD_EXITING, "vmx-secondary-ctls"),
  "vmx-unrestricted-guest": feature("secondary", Secondary.UNRESTRICTED_GUEST, "vmx-ept vmx-store-lma"),
  "vmx-apicv-register": feature(
    "secondary",
    Secondary.APIC_REGISTER_VIRTUALIZATION,
    "vmx-secondary-ctls vmx-vtpr",
  ),
  "vmx-apicv-vid": feature("secondary", Secondary.VIRTUAL_INTERRUPT_DELIVERY, "vmx-secondary-ctls vmx-vtpr"),
  "vmx-ple": feature("secondary", Secondary.PAUSE_LOOP_EXITING, "vmx-secondary-ctls"),
  "vmx-rdrand-exit": feature("secondary", Secondary.RDRAND_EXITING, "vmx-secondary-ctls"),
  "vmx-invpcid-exit": feature("secondary", Secondary.ENABLE_INVPCID, "vmx-secondary-ctls"),
  "vmx-vmfunc": feature("secondary", Secondary.ENABLE_VM_FUNCTIONS, "vmx-secondary-ctls"),
  "vmx-shadow-vmcs": feature(
    "secondary",
    Secondary.VMCS_SHADOWING,
    "vmx-secondary-ctls vmx-vmwrite-vmexit-fields",
  ),
  "vmx-rdseed-exit": feature("secondary", Secondary.RDSEED_EXITING, "vmx-secondary-ctls"),
  "vmx-pml": feature("secondary", Secondary.ENABLE_PML, "vmx-ept vmx-eptad"),
  "vmx-ept-ve": feature("secondary", Secondary.EPT_VIOLATION_VE, "vmx-ept"),
  "vmx-xsaves": feature("secondary", Secondary.ENABLE_XSAVES, "vmx-secondary-ctls"),
  "vmx-mbec": feature("secondary", Secondary.MODE_BASED_EXECUTE, "vmx-ept"),
  "vmx-tsc-scaling": feature("secondary", Secondary.USE_TSC_SCALING, "vmx-secondary-ctls"),
  "vmx-ept-execonly": feature("ept", EptCapability.EXECUTE_ONLY, "vmx-ept"),
  "vmx-page-walk-4": feature(
    "ept",
    EptCapability.FOUR_LEVELS | EptCapability.UNCACHEABLE | EptCapability.WRITE_BACK,
  ),
  "vmx-ept-2mb": feature("ept", EptCapability.PAGES_2M, "vmx-ept"),
  "vmx-ept-1gb": feature("ept", EptCapability.PAGES_1G, "vmx-ept"),
  "vmx-eptad": feature("ept", EptCapability.ACCESSED_AND_DIRTY, "vmx-ept"),
  "vmx-invept": feature("ept", EptCapability.INVEPT | EptCapability.INVEPT_SINGLE | EptCapability.INVEPT_ALL),
  "vmx-invvpid": feature(
    "vpid",
    Object.values(VpidCapability).reduce((all, bit) => all | bit, 0),
  ),
  "vmx-store-lma": feature("misc", Misc.STORE_LMA),
  "vmx-vmwrite-vmexit-fields": feature("misc", Misc.WRITE_ANY_FIELD),
  "vmx-zero-len-inject": feature("misc", Misc.ZERO_LENGTH_INJECTION),
  "vmx-eptp-switching": feature("functions", 1, "vmx-vmfunc vmx-ept"),
};

const names = (text: string): string[] => text.split(/\s+/).filter((name) => name !== "");

/** Three generations: without EPT; with EPT and VPID; with unrestricted guests; everything. */
const PENRYN = names("vmx-secondary-ctls vmx-vtpr vmx-apicv-xapic vmx-wbinvd-exit");
const NEHALEM = [
  ...PENRYN,
  ...names(`vmx-ept vmx-page-walk-4 vmx-invept vmx-ept-2mb vmx-ept-execonly vmx-vpid vmx-invvpid vmx-preemption-timer vmx-mtf
    vmx-desc-exit vmx-rdtscp-exit vmx-apicv-x2apic`),
];
const SANDY_BRIDGE = [...NEHALEM, ...names("vmx-unrestricted-guest vmx-store-lma vmx-ple vmx-ept-1gb")];
const ALL = Object.keys(VMX_FEATURES);

export const VMX_TIERS = { penryn: PENRYN, nehalem: NEHALEM, sandybridge: SANDY_BRIDGE, all: ALL } as const;

/** The capabilities that a set of features comes to; one whose needs are not met is left out. */
export function vmxCapabilities(wanted: Iterable<string>): VmxCapabilities {
  const present = new Set(wanted);
  const isMet = (name: string): boolean =>
    present.has(name) && (VMX_FEATURES[name]?.needs ?? []).every(isMet);
  // Controls without a name here: every processor with VMX has them.
  const optional = (word: Word): number =>
    Object.values(VMX_FEATURES).reduce((bits, one) => (one.word === word ? bits | one.bits : bits), 0);
  const all = (controls: Readonly<Record<string, number>>): number =>
    Object.values(controls).reduce((bits, bit) => bits | bit, 0);
  const words: Record<Word, number> = {
    pin: MustBe1.PIN | (all(Pin) & ~optional("pin")),
    primary: MustBe1.PRIMARY | (all(Primary) & ~optional("primary")),
    secondary: 0,
    exit: MustBe1.EXIT | all(ExitControl),
    entry: MustBe1.ENTRY | all(EntryControl),
    ept: 0,
    vpid: 0,
    misc: MISC_BASE,
    functions: 0,
  };
  for (const [name, { word, bits }] of Object.entries(VMX_FEATURES)) if (isMet(name)) words[word] |= bits;
  // Saving the timer's value goes with the timer.
  if ((words.pin & Pin.PREEMPTION_TIMER) === 0) words.exit &= ~ExitControl.SAVE_PREEMPTION_TIMER;
  for (const word of Object.keys(words) as Word[]) words[word] >>>= 0;
  return words;
}
