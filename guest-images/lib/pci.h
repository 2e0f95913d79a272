/*
 * PCI configuration (PCI Local Bus Specification, "Configuration Space") by ports CF8H/CFCH or, with the option
 * `pci=ecam`, by the memory-mapped window that the MCFG table names; and MSI-X.
 */
#ifndef PCI_H
#define PCI_H

#include "types.h"

#define PCI_VENDOR_ID 0x00
#define PCI_DEVICE_ID 0x02
#define PCI_COMMAND 0x04
#define PCI_STATUS 0x06
#define PCI_CLASS_REVISION 0x08
#define PCI_HEADER_TYPE 0x0E
#define PCI_BAR0 0x10
#define PCI_SECONDARY_BUS 0x19
#define PCI_CAPABILITIES 0x34
#define PCI_INTERRUPT_LINE 0x3C
#define PCI_INTERRUPT_PIN 0x3D

#define PCI_COMMAND_IO 0x001
#define PCI_COMMAND_MEMORY 0x002
#define PCI_COMMAND_MASTER 0x004
#define PCI_COMMAND_INTX_DISABLE 0x400

#define PCI_CAP_VENDOR 0x09
#define PCI_CAP_MSIX 0x11

#define MAX_PCI_FUNCTIONS 64

struct pci_function {
  u8 bus, device, function;
  u16 vendor_id, device_id;
  u8 class, subclass, interface;
};

extern struct pci_function pci_functions[MAX_PCI_FUNCTIONS];
extern u32 pci_function_count;

/** Scans all buses once (later calls do nothing) and gives addresses to BARs that firmware left at 0. */
void pci_init(void);

/** Is configuration space reached through ECAM? */
bool pci_uses_ecam(void);

u8 pci_read8(const struct pci_function *f, u32 offset);
u16 pci_read16(const struct pci_function *f, u32 offset);
u32 pci_read32(const struct pci_function *f, u32 offset);
void pci_write8(const struct pci_function *f, u32 offset, u8 value);
void pci_write16(const struct pci_function *f, u32 offset, u16 value);
void pci_write32(const struct pci_function *f, u32 offset, u32 value);

/** The next capability of a type behind `after` (0: from the start), or 0. */
u8 pci_find_capability(const struct pci_function *f, u8 type, u8 after);

/** The address in a BAR, I/O or memory (64 bits where it is such a BAR). */
u64 pci_bar_address(const struct pci_function *f, u32 bar);

/** Does the BAR decode I/O ports? */
bool pci_bar_is_io(const struct pci_function *f, u32 bar);

struct msix {
  const struct pci_function *function;
  u8 capability;
  u32 entries;
  u64 table; /* address of the vector table */
};

/** Finds the MSI-X capability and table, and enables MSI-X with every vector masked. False if there is none. */
bool msix_enable(struct msix *msix, const struct pci_function *f);

/** Points an MSI-X vector at an interrupt vector of one CPU and unmasks it. */
void msix_set(const struct msix *msix, u32 entry, u8 vector, u32 apic_id);

/** Gives out an interrupt vector for MSI-X, from the option `msixvector=` (default VECTOR_MSIX) upwards. */
u8 msix_allocate_vector(void);

/** APIC ID of the CPU that MSI-X interrupts go to: the option `msixcpu=INDEX`, default 0. */
u32 msix_destination(void);

#endif
